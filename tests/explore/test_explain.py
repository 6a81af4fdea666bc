"""A shrunken schedule becomes a scenario that the suite reads and runs."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from chaos.holds.points import STATEMENTS
from common.errors import UserError
from explore import schedule as schedules
from explore.__main__ import main
from explore.explain import judged, scenario
from explore.plan import SHAPES, WORLDS, shapes
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


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_with_a_name_is_told_with_all_of_its_values(tmp_path: Path, name: str) -> None:
    asset = replace(SHRUNK, deeds=[*SHRUNK.deeds, Deed("update", "a")], shapes=SHAPES)
    made = explained(tmp_path, replace(asset, yields=[f"scheduler-1 {name}"]))
    (hold,) = (step for step in made.permutations["found"] if step.verb == "hold")
    assert set(hold.options.get("with", {})) == set(STATEMENTS[name].values)


def test_what_defers_has_a_triggerer(tmp_path: Path) -> None:
    deferred = replace(SHRUNK, settings=dict(WORLDS["triggers"]), shapes=shapes(WORLDS["triggers"]))
    assert explained(tmp_path, deferred).triggerers == 1
    triggerer = replace(deferred, yields=["triggerer-1 trigger-event"])
    assert "triggerer-1" in explained(tmp_path, triggerer).sessions.values()


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
        ([], "has neither preemptions nor moves"),
        (["scheduler-2 two", "scheduler-1 never-sent"], "not among the schedule's statements"),
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


def verbs(made: Scenario, *without: str) -> list[tuple[str, object]]:
    steps = made.permutations["found"]
    return [(step.verb, step.target) for step in steps if step.verb not in ("trigger", *without)]


def test_two_that_yield_are_released_in_turn(tmp_path: Path) -> None:
    both = replace(SHRUNK, yields=["scheduler-1 dag-by-id", "scheduler-2 two"])
    assert verbs(explained(tmp_path, both)) == [
        ("pause", "A"), ("pause", "B"), ("hold", "B"), ("hold", "A"),
        ("resume", "B"), ("held", "B"), ("resume", "A"), ("held", "A"),
        ("release", "B"), ("until", {"run": "running", "of": "all", "by": "B"}), ("release", "A"),
        ("settle", {"at_most": 60, "after_violation": 20}),
    ]  # fmt: skip


def test_one_that_yields_twice_is_held_by_two_sessions(tmp_path: Path) -> None:
    twice = replace(SHRUNK, yields=["scheduler-1 dag-by-id", "scheduler-1 two"])
    made = explained(tmp_path, twice)
    assert made.sessions == {"A": "scheduler-2", "B": "scheduler-1", "B-2": "scheduler-1"}
    assert verbs(made, "pause", "settle") == [
        ("hold", "B"), ("hold", "B-2"), ("resume", "B"), ("held", "B"), ("resume", "A"),
        ("wait", 3.0), ("release", "B"), ("held", "B-2"),
        ("until", {"run": "running", "of": "all", "by": "A"}), ("release", "B-2"),
    ]  # fmt: skip


def test_what_a_person_did_is_done_while_somebody_is_held(tmp_path: Path) -> None:
    mark = Deed("mark", "serial", 4, "1", "task", "success", before="scheduler-1 dag-by-id 2")
    made = explained(tmp_path, replace(SHRUNK, deeds=[*SHRUNK.deeds, mark]))
    assert verbs(made, "pause", "settle") == [
        ("hold", "B"), ("resume", "B"), ("held", "B"), ("mark", "task"), ("resume", "A"),
        ("release", "B"),
    ]  # fmt: skip
    (step,) = (each for each in made.permutations["found"] if each.verb == "mark")
    assert step.options == {"state": "success", "of": "serial-run-2"}


def test_who_was_killed_is_killed_where_it_stood(tmp_path: Path) -> None:
    kill = Deed("kill", "scheduler-2", 4, before="scheduler-2 two 1")
    made = explained(tmp_path, replace(SHRUNK, yields=[], deeds=[*SHRUNK.deeds, kill]))
    assert made.settings["AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"] == "5"
    assert verbs(made, "pause", "settle") == [
        ("hold", "B"), ("resume", "B"), ("held", "B"), ("kill", "B"), ("resume", "A"),
        ("release", "B"), ("start", "B"),
    ]  # fmt: skip


def test_a_cancelled_statement_and_a_watch_that_is_told_late(tmp_path: Path) -> None:
    moves = [
        Deed("silence", "scheduler-1", 2, before="scheduler-2 dag-by-id 1"),
        Deed("cancel", "", 4, before="scheduler-2 two 1"),
        Deed("tell", "scheduler-1", 9, before="api-server dag-by-id 1"),
    ]
    made = explained(tmp_path, replace(SHRUNK, yields=[], deeds=[*SHRUNK.deeds, *moves]))
    assert made.sessions["api"] == "api-server"
    done = [step.verb for step in made.permutations["found"]]
    assert [each for each in done if each in ("fault", "cancel", "heal")] == [
        "fault", "cancel", "heal",
    ]  # fmt: skip


def test_a_marked_run_and_a_resized_pool_are_steps(tmp_path: Path) -> None:
    moves = [
        Deed("mark-run", "serial", 2, "1", state="failed", before="scheduler-1 dag-by-id 1"),
        Deed("resize", "default_pool", 4, state="2", before="scheduler-1 dag-by-id 2"),
        Deed("resize", "default_pool", 4, state="1", before="scheduler-1 dag-by-id 3"),
    ]
    made = explained(tmp_path, replace(SHRUNK, deeds=[*SHRUNK.deeds, *moves]))
    done = [each for each in made.permutations["found"] if each.verb in ("mark-run", "resize")]
    assert [(each.target, each.options) for each in done] == [
        ("failed", {"of": "serial-run-2"}),
        ("default_pool", {"slots": 2}), ("default_pool", {"slots": 1}),
    ]  # fmt: skip


def test_a_move_before_no_point_is_told() -> None:
    moved = replace(SHRUNK, deeds=[*SHRUNK.deeds, Deed("kill", "scheduler-1", 4)])
    with pytest.raises(
        UserError, match=r"not say before which points .* Shrink the schedule again"
    ):
        scenario(moved, judged(HISTORY), "found")


def test_its_transitions_are_those_of_legal_transition_alone() -> None:
    history = HISTORIES / "legal-transition" / "invalid-a-marked-task-was-queued.ndjson"
    judgement = judged(history)
    (real,) = judgement.violations
    other = dataclasses.replace(real, invariant="run-ends-once", message=".. RUNNING -> SUCCESS ..")
    more = dataclasses.replace(judgement, violations=[real, other])
    text = scenario(replace(SHRUNK, broken=["legal-transition"]), more, "found")
    assert "transitions: [SUCCESS -> QUEUED]" in text


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
    for wrong, said in ((tmp_path / "name", "end in .yaml"), (tmp_path / "two words.yaml", "")):
        status = told_by(monkeypatch, "explain", str(file), "--out", str(wrong))
        assert said in capsys.readouterr().err
        assert status == (2 if said else 0)
    (tmp_path / "history.ndjson").write_text("garbage")
    assert told_by(monkeypatch, "explain", str(file), "--out", str(out)) == 2
    assert out.read_bytes() == before, "it is written whole or not at all"
    assert len(capsys.readouterr().err.splitlines()) == 1
