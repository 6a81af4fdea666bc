"""A shrunken schedule becomes a scenario that the suite reads and runs."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from common.errors import UserError
from explore.explain import judged, scenario
from explore.schedule import Deed, Schedule
from scenarios.scenario import Scenario, load
from tests.explore.test_schedule import SCHEDULE
from tests.oracle.telling import HISTORIES

HISTORY = HISTORIES / "max-active-runs" / "invalid-two-schedulers-begin-one-each.ndjson"
SHRUNK = replace(
    SCHEDULE,
    shapes="serial,wide:3",
    settings={"AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "1"},
    deeds=[Deed("trigger", "serial", run="0"), Deed("trigger", "serial", run="1")],
    steps=[],
    yields=["scheduler-1 dag-by-id"],
    broken=["max-active-runs"],
)


def explained(tmp_path: Path, schedule: Schedule) -> Scenario:
    path = tmp_path / "found.yaml"
    path.write_text(scenario(schedule, judged(HISTORY), "found"))
    assert "# max-active-runs: " in path.read_text(), "the witness stands above it"
    return load(path)


def test_it_holds_who_yielded_while_the_other_acts(tmp_path: Path) -> None:
    made = explained(tmp_path, SHRUNK)
    assert made.breaks == {"max-active-runs"}
    assert made.sessions == {"A": "scheduler-2", "B": "scheduler-1"}
    assert made.settings == SHRUNK.settings
    steps = [(step.verb, step.target) for step in made.permutations["found"]]
    assert steps[:4] == [("pause", "A"), ("pause", "B"), ("trigger", "serial"), *steps[3:4]]
    assert [verb for verb, target in steps if target == "B"] == [
        "pause", "hold", "resume", "held", "release",
    ]  # fmt: skip
    until = next(target for verb, target in steps if verb == "until")
    assert until == {"run": "running", "of": "all", "by": "A"}


def test_a_statement_without_a_name_is_told_by_its_table_and_pattern(tmp_path: Path) -> None:
    unnamed = replace(SHRUNK, yields=["scheduler-1 two"])
    (hold,) = (s for s in explained(tmp_path, unnamed).permutations["found"] if s.verb == "hold")
    assert hold.options == {"table": "dag", "matching": "%FROM dag%"}


def test_a_commit_is_told_by_its_table(tmp_path: Path) -> None:
    commit = replace(SHRUNK, yields=["scheduler-1 commit-dag_run+task_instance"])
    (hold,) = (s for s in explained(tmp_path, commit).permutations["found"] if s.verb == "hold")
    assert hold.options == {"commit": "dag_run"}


@pytest.mark.parametrize("yields", [[], ["scheduler-1 one", "scheduler-2 two"]])
def test_what_is_not_shrunken_is_told(yields: list[str]) -> None:
    with pytest.raises(UserError, match=r"Shrink it first: python -m explore shrink FILE"):
        scenario(replace(SHRUNK, yields=yields), judged(HISTORY), "found")


def test_a_missing_history_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Replay it"):
        judged(tmp_path / "history.ndjson")
