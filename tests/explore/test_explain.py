"""A shrunken schedule becomes a scenario that the suite reads and runs."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from common.errors import UserError
from explore import schedule as schedules
from explore.__main__ import main
from explore.explain import judged, scenario
from explore.plan import SHAPES
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


def test_what_is_not_shrunken_is_told() -> None:
    with pytest.raises(UserError, match=r"Shrink it first: python -m explore shrink FILE"):
        scenario(replace(SHRUNK, steps=SCHEDULE.steps, yields=[]), judged(HISTORY), "found")


@pytest.mark.parametrize(
    ("yields", "said"),
    [
        ([], "has no preemptions"),
        (["scheduler-1 one", "scheduler-2 two"], "has 2 preemptions"),
        (["scheduler-1 never-sent"], "not among the schedule's statements"),
        (["scheduler-1 commit-log"], "at none of the schedule's points"),
        (["scheduler-1 elsewhere"], "at none of the schedule's points"),
    ],
)
def test_what_cannot_be_made_a_scenario_is_told_in_a_line(yields: list[str], said: str) -> None:
    statements = SHRUNK.statements | {"elsewhere": ("log", "%")}
    with pytest.raises(UserError, match=said) as told:
        scenario(replace(SHRUNK, yields=yields, statements=statements), judged(HISTORY), "found")
    assert len(str(told.value).splitlines()) == 1


def test_what_needs_a_move_is_told() -> None:
    moved = replace(SHRUNK, deeds=[*SHRUNK.deeds, Deed("kill", "scheduler-1", 4)])
    with pytest.raises(UserError, match=r"has moves \(kill\)"):
        scenario(moved, judged(HISTORY), "found")


@pytest.mark.parametrize("text", [None, b"", b"garbage\n", b"\x00\xff", HISTORY.read_bytes()[:-40]])
def test_a_history_that_cannot_be_read_is_told_in_a_line(
    tmp_path: Path, text: bytes | None
) -> None:
    path = tmp_path / "history.ndjson"
    if text is None:
        path.mkdir()
    else:
        path.write_bytes(text)
    with pytest.raises(UserError, match="Shrink the schedule again") as told:
        judged(path)
    assert len(str(told.value).splitlines()) == 1


def test_a_missing_history_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no history"):
        judged(tmp_path / "history.ndjson")


def told_by(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["explore", *argv])
    return main()


def test_explain_names_the_scenario_after_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "schedule.yaml", tmp_path / "begun-twice.yaml"
    schedules.write(replace(SHRUNK, shapes=SHAPES), file)
    shutil.copy(HISTORY, tmp_path / "history.ndjson")
    assert told_by(monkeypatch, "explain", str(file), "--out", str(out)) == 0
    assert load(out).name == "begun-twice"
    assert '@pytest.mark.scenario("begun-twice")' in capsys.readouterr().out
    before = out.read_bytes()
    (tmp_path / "history.ndjson").write_text("garbage")
    assert told_by(monkeypatch, "explain", str(file), "--out", str(out)) == 2
    assert out.read_bytes() == before, "it is written whole or not at all"
    assert len(capsys.readouterr().err.splitlines()) == 1
