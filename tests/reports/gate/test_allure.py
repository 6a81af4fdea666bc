"""Allure's own gate is one more check: it can hold a release, and cannot undo an acceptance."""

from datetime import date
from pathlib import Path

import pytest

from reports.gate import checks
from reports.gate.decision import Decision, GateRow, Status
from reports.gate.policy import Policy
from reports.store import Runs, read_runs
from tests.reports.gate.builder import RunsBuilder

Answer = tuple[str, str] | None


def gated(*safety: Status) -> Decision:
    rows = [
        GateRow(check="safety", subject=f"test {n}", status=status, detail="so", airflow="3.3.2")
        for n, status in enumerate(safety)
    ]
    known_bad = GateRow(check="safety", subject="bad", status="pass", detail="-", airflow="3.0.6")
    return Decision((*rows, known_bad), Policy(), date.today(), known_bad=frozenset({"3.0.6"}))


@pytest.mark.parametrize(
    ("answer", "safety", "status", "exit_code"),
    [
        (("pass", "it holds"), ("pass",), "pass", 0),
        (("fail", "1 of 9 tests"), ("pass",), "fail", 1),
        (("fail", "1 of 9 tests"), ("accepted", "pass"), "accepted", 0),
        (("fail", "2 of 9 tests"), ("accepted", "fail"), "fail", 1),
        (("unknown", "1 test cannot tell"), ("accepted",), "unknown", 2),
        (None, ("pass",), "unknown", 2),
    ],
)
def test_its_answer_is_a_row(
    answer: Answer,
    safety: tuple[Status, ...],
    status: str,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "evaluate", lambda *_: answer)
    decision = checks.with_allure(gated(*safety), Runs())
    assert decision.checks[-1].check == "allure"
    assert (decision.checks[-1].status, decision.exit_code) == (status, exit_code)


def test_it_is_asked_about_the_gated_builds_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = RunsBuilder(tmp_path / "runs")
    runs.teeth()
    mine = runs.session()
    asked: list[Runs] = []
    monkeypatch.setattr(checks, "evaluate", lambda runs, _: asked.append(runs))
    checks.with_allure(gated("pass"), read_runs([tmp_path / "runs"]))
    assert [run.path for run in asked[0].folders] == [mine]
