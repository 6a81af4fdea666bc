"""A test that ran more than once in a session is told once, by its worst attempt."""

import json
from pathlib import Path

from reports.store import read_run
from tests.reports.gate.builder import KILL, RunsBuilder

TWICE = {"executed-once": 1}


def attempts(folder: Path, *verdicts: str) -> Path:
    """Leave a session in which one test ran once for each verdict."""
    run = RunsBuilder(folder).session([KILL])
    (first,) = (run / "tests").iterdir()
    record = json.loads((first / "verdict.json").read_text())
    for number, verdict in enumerate(verdicts, 1):
        place = first if number == 1 else first.with_name(f"{first.name}.{number}")
        place.mkdir(exist_ok=True)
        broken = TWICE if verdict == "invalid" else {}
        told = record | {"verdict": verdict, "violations": broken}
        (place / "verdict.json").write_text(json.dumps(told))
    return run


def test_the_worst_attempt_counts_and_the_others_are_kept(tmp_path: Path) -> None:
    run = read_run(attempts(tmp_path, "valid", "invalid", "unknown", "valid"))
    assert [record.verdict for record in run.tests] == ["invalid"]
    assert run.tests[0].folder.endswith(".2")
    assert [record.verdict for record in run.others] == ["valid", "unknown", "valid"]


def test_of_equal_attempts_the_last_counts_the_tenth_after_the_second(tmp_path: Path) -> None:
    run = read_run(attempts(tmp_path, *["valid"] * 10))
    assert run.tests[0].folder.endswith(".10")
    assert len(run.others) == 9
    assert not run.problems
