"""Run sets with a known answer: each is written as sessions leave it, and gated as users do.

    pytest tests/reports/gate/test_decisions.py -v

lists them with their exit codes: the ids are <exit code>-<what the runs are>.
"""

import json
from pathlib import Path

import pytest

from reports.__main__ import main
from tests.reports.gate.builder import RunsBuilder
from tests.reports.gate.run_sets import Gated
from tests.reports.gate.sets_completeness import COMPLETENESS
from tests.reports.gate.sets_safety import SAFETY
from tests.reports.gate.sets_trust import BAD_POLICY, ORACLE_HEALTH, PERFORMANCE

ALL = (*SAFETY, *COMPLETENESS, *ORACLE_HEALTH, *PERFORMANCE, *BAD_POLICY)


@pytest.mark.parametrize("gated", ALL, ids=lambda gated: f"{gated.exit_code}-{gated.name}")
def test_the_gate_answers(gated: Gated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gated.build(RunsBuilder(tmp_path / "runs"))
    (tmp_path / "policy.yaml").write_text(gated.policy)
    out = tmp_path / "out"
    arguments = [str(tmp_path / "runs"), "--policy", str(tmp_path / "policy.yaml")]
    code = main(["gate", *arguments, "--out", str(out), *gated.options])
    told = capsys.readouterr()
    assert code == gated.exit_code, told
    if not out.exists():
        assert told.err.startswith("error: ")
        assert len(told.err.splitlines()) == 1
        return
    rows = json.loads((out / "gate.json").read_text())["rows"]
    wanted = {0: "", 1: "fail", 2: "unknown"}[code]
    deciding = [f"{row['subject']}: {row['detail']}" for row in rows if row["status"] == wanted]
    assert any(gated.deciding in line for line in deciding) == bool(wanted), deciding


def test_no_two_run_sets_have_a_name_in_common() -> None:
    assert len({gated.name for gated in ALL}) == len(ALL)
