"""What the gate writes can be read by those it is written for: CI servers, people, scripts."""

import io
import json
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.gate.checks import decide
from reports.gate.decision import Decision, GateRow
from reports.gate.outputs import LONGEST, junit, markdown, write
from reports.gate.policy import Policy, read_policy
from reports.store import read_runs
from tests.reports.gate.builder import KILL, TODAY, RunsBuilder, night
from tests.reports.gate.policies import PLAIN

STATUSES = ("pass", "fail", "unknown", "accepted")
NASTY = "a | b <script>alert(1)</script> \x00\x1b[31m `code` \ud800 & [link](http://example)"


def decision(*rows: GateRow) -> Decision:
    return Decision(rows, Policy(path="policy.yaml", sha256="ab" * 32), date(2026, 11, 22))


def row(status: str, detail: str = "all of it", subject: str = "a test") -> GateRow:
    return GateRow(check="safety", subject=subject, status=status, detail=detail)  # type: ignore[arg-type]


ONE_OF_EACH = decision(*map(row, STATUSES))


class Screen(io.StringIO):
    """A terminal, as far as anyone can tell."""

    def isatty(self) -> bool:
        return True


def test_junit_has_a_case_for_every_row() -> None:
    root = ElementTree.fromstring(junit(ONE_OF_EACH))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.attrib == {
        "name": "safety",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "0",
    }
    children = [[child.tag for child in case] for case in suite]
    assert children == [["system-out"], ["failure"], ["error"], ["skipped"]]
    assert all(case.get("classname") == "gate.safety" for case in suite)


def test_junit_is_well_formed_whatever_a_reason_holds() -> None:
    root = ElementTree.fromstring(junit(decision(row("fail", NASTY, NASTY))).encode())
    failure = root.find(".//failure")
    assert failure is not None
    assert "<script>" in failure.attrib["message"]


def test_markdown_keeps_a_reason_inside_its_cell() -> None:
    lines = markdown(decision(row("fail", NASTY))).splitlines()
    told = next(line for line in lines if "✗ fail" in line)
    assert told.replace("\\|", "").count("|") == 5
    assert "<script>" not in told
    assert "\\[link\\]" in told


def test_markdown_fits_into_a_comment_and_says_what_it_left_out() -> None:
    many = decision(*(row(status, "x" * 500) for status in STATUSES for _ in range(1_000)))
    text = markdown(many)
    assert len(text) < LONGEST
    assert "more are in gate.json" in text
    assert text.index("✗ fail") < text.index("✓ pass")


def test_the_terminal_has_what_decides_next_to_the_answer() -> None:
    out = io.StringIO()
    write(ONE_OF_EACH, out)
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line.startswith(STATUSES)] == [
        *("pass", "accepted", "unknown", "fail")
    ]
    assert lines[-1] == "not safe: 1 failed, 1 open, 1 accepted, 1 passed (exit 1)"
    assert "\x1b" not in out.getvalue()


def test_the_terminal_is_coloured_only_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    write(ONE_OF_EACH, coloured := Screen())
    monkeypatch.setenv("NO_COLOR", "1")
    write(ONE_OF_EACH, plain := Screen())
    assert "\x1b[31m" in coloured.getvalue()
    assert "\x1b" not in plain.getvalue()


def test_quiet_is_one_line() -> None:
    write(ONE_OF_EACH, out := io.StringIO(), quiet=True)
    assert out.getvalue().count("\n") == 1


def test_control_characters_never_reach_a_terminal() -> None:
    write(decision(row("fail", "a\x1b[2Jb")), out := io.StringIO())
    assert "\x1b" not in out.getvalue()


def test_no_secret_reaches_any_output() -> None:
    leaking = decision(row("unknown", "password=hunter2-canary at postgresql://a:hunter2-canary@b"))
    told = json.dumps(leaking.to_json()) + junit(leaking) + markdown(leaking)
    assert "hunter2-canary" not in told


def test_gate_json_says_what_was_decided_on_what(tmp_path: Path) -> None:
    runs = RunsBuilder(tmp_path / "runs")
    runs.teeth()
    run = runs.session(night(kill=KILL.broken({"executed-once": 1})))
    (tmp_path / "policy.yaml").write_text(PLAIN)
    arguments = [str(tmp_path / "runs"), "--policy", str(tmp_path / "policy.yaml")]
    assert main(["gate", *arguments, "--out", str(tmp_path / "out"), "-q"]) == 1
    told = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert (told["schema"], told["decision"], told["exit_code"]) == (1, "not safe", 1)
    assert told["policy"]["sha256"] == read_policy(tmp_path / "policy.yaml").sha256
    assert told["runs"][-1] == {
        "folder": run.name,
        "environment": "Airflow 3.3.2, embedded, 2 schedulers",
        "session": run.name[:15],
        "tests": 7,
    }
    assert told["rows"][0]["status"] == "fail"
    assert {name.name for name in (tmp_path / "out").iterdir()} == {
        *("gate.json", "gate.xml", "gate.md")
    }


@pytest.fixture
def nightly(tmp_path: Path) -> Decision:
    """A night: a known-bad release, a good one, and one with a new violation."""
    runs = RunsBuilder(tmp_path / "runs")
    runs.teeth()
    runs.session(airflow="3.3.2")
    runs.session(night(kill=KILL.broken({"executed-once": 1})), airflow="3.3.3")
    runs.session([KILL.broken({"executed-once": 1})], airflow="my-wheel", version="3.3.2")
    (tmp_path / "policy.yaml").write_text(PLAIN)
    policy = read_policy(tmp_path / "policy.yaml", TODAY)
    return decide(read_runs([tmp_path / "runs"]), policy, TODAY)


def risky(*risks: str) -> GateRow:
    return GateRow(check="safety", subject="a", status="accepted", detail="so", risks=risks)


@pytest.mark.parametrize(
    ("rows", "standing", "word", "code"),
    [
        ([row("pass")], "safe", "safe", 0),
        ([risky("a"), row("pass")], "accepted risks", "safe but for 1 accepted risk", 0),
        ([risky("a", "b"), risky("b")], "accepted risks", "safe but for 2 accepted risks", 0),
        ([risky("a"), row("fail")], "not safe", "not safe", 1),
        ([risky("a"), row("unknown")], "cannot tell", "cannot tell", 2),
    ],
)
def test_what_was_accepted_is_not_called_safe(
    rows: list[GateRow], standing: str, word: str, code: int
) -> None:
    decided = decision(*rows)
    assert (decided.standing, decided.word, decided.exit_code) == (standing, word, code)
    write(decided, out := io.StringIO(), quiet=True)
    assert out.getvalue().startswith(f"{word}: ")
    assert markdown(decided).startswith(f"## Release gate: {word}: ")
    assert decided.to_json()["decision"] == word


def test_the_pull_request_names_what_was_accepted() -> None:
    assert "Accepted risks: a\\_b, c." in markdown(decision(risky("c"), risky("a_b")))


def test_each_answer_has_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    colours = set()
    for rows in ([row("pass")], [risky("a")], [row("fail")], [row("unknown")]):
        write(decision(*rows), out := Screen(), quiet=True)
        colours.add(out.getvalue().partition("m")[2].partition("m")[0])
    assert len(colours) == 4


def test_one_version_is_told_by_its_own_rows(nightly: Decision) -> None:
    assert nightly.word == "not safe"
    assert nightly.for_version("3.3.2").word == "safe but for 2 accepted risks"
    assert nightly.for_version("3.3.3").word == "not safe"
    assert nightly.for_version("my-wheel").word == "not safe"


def test_a_known_bad_release_is_not_safe_though_nothing_fails(nightly: Decision) -> None:
    told = nightly.for_version("3.0.6")
    assert told.word == "not safe"
    assert not [row for row in told.checks if row.status == "fail"]


def test_a_version_nobody_ran_is_not_called_safe(nightly: Decision) -> None:
    assert nightly.for_version("3.4.0").word == "cannot tell"
