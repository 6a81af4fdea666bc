"""What a later attempt in the same session did not show is held against a release all the same."""

from pathlib import Path

import pytest

from reports.gate.checks import decide
from reports.gate.decision import Decision
from reports.gate.policy import read_policy
from reports.store import read_runs, worst_attempts
from tests.reports.gate.builder import KILL, TODAY, RunsBuilder, night
from tests.reports.gate.policies import PLAIN
from tests.reports.matrix import told

DOUBLE = {"executed-once": 1}


def gated(folder: Path, first: str, again: str) -> Decision:
    """Decide on a night in which one test ran twice in its session."""
    runs = RunsBuilder(folder / "runs")
    runs.teeth()
    verdicts = {
        "invalid": KILL.broken(DOUBLE),
        "unknown": KILL.unknown(),
        "valid": KILL,
    }
    other = RunsBuilder(folder / "other").session([verdicts[again]])
    run = runs.session(night(kill=verdicts[first]))
    (second,) = (other / "tests").iterdir()
    second.rename(run / "tests" / f"{second.name}.2")
    (folder / "policy.yaml").write_text(PLAIN)
    policy = read_policy(folder / "policy.yaml", TODAY)
    return decide(read_runs([folder / "runs"]), policy, TODAY)


@pytest.mark.parametrize(
    ("first", "again", "code"),
    [
        ("invalid", "valid", 1),
        ("valid", "invalid", 1),
        ("unknown", "valid", 2),
        ("valid", "valid", 0),
    ],
)
def test_the_worst_attempt_decides(tmp_path: Path, first: str, again: str, code: int) -> None:
    assert gated(tmp_path, first, again).exit_code == code


def test_of_two_violations_the_one_that_nothing_explains_decides() -> None:
    """Whichever came last."""
    known = told.shown()
    new = told.record("invalid", "unique-try", "no-crash")
    assert worst_attempts([new, known]) == worst_attempts([known, new]) == (new,)
