"""A schedule is read as it was written; a bad one is told in a line."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from common.errors import UserError
from explore import schedule as schedules
from explore.points import Watched, statement
from explore.schedule import SCHEMA, Deed, Schedule
from explore.shrink import bound, candidates, found_in
from tests.oracle.telling import HISTORIES

SCHEDULE = Schedule(
    schema=SCHEMA,
    airflow="3.0.6",
    shapes="serial",
    settings={"AIRFLOW__SCHEDULER__X": "1"},
    seed=7,
    round=3,
    strategy="pct",
    points=["scan of dag", "commit of dag_run"],
    deeds=[Deed("trigger", "serial", run="0"), Deed("cancel", at=4)],
    steps=[
        "scheduler-1 one arrived",
        "scheduler-2 one arrived",
        "scheduler-2 two idle",
        "scheduler-1 two arrived",
        "scheduler-1 three arrived",
    ],
    statements={"two": ("dag,dag_run", "%FROM dag%")},
    broken=["unique-try"],
    until=4,
    witness="a line\nanother: with a colon\n",
)


def test_a_schedule_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "schedule.yaml"
    schedules.write(SCHEDULE, path)
    assert schedules.read(path) == SCHEDULE


def test_its_points_are_what_they_say() -> None:
    assert SCHEDULE.watched == [Watched("dag"), Watched("dag_run", commits=True)]


def test_preemptions_are_where_somebody_stood_the_latest_first() -> None:
    """Scheduler 1 stood at `two` while scheduler 2 was let past twice."""
    assert SCHEDULE.preemptions == [("scheduler-1", "two")]


MARK = Deed("mark", "serial", 1, "0", "task", "success")


@pytest.mark.parametrize(
    ("move", "yields", "before"),
    [
        (Deed("cancel", at=1), [], "scheduler-2 one 1"),
        (Deed("kill", "scheduler-1", 1), [], "scheduler-1 two 1"),
        (Deed("pause", "scheduler-2", 3), [], "scheduler-1 two 1"),
        (MARK, [], "scheduler-2 one 1"),
        (MARK, ["scheduler-1 two"], "scheduler-1 two 1"),
        (Deed("silence", "scheduler-1", 1), ["scheduler-1 two"], "scheduler-2 one 1"),
    ],
)
def test_a_move_of_a_shrunken_schedule_is_before_a_point(
    move: Deed, yields: list[str], before: str
) -> None:
    work = SCHEDULE.deeds[0]
    moved = replace(SCHEDULE, deeds=[work, move])
    assert bound(moved, yields) == [work, replace(move, before=before)]


def test_what_a_person_did_is_sought_between_others_first() -> None:
    assert list(candidates(SCHEDULE)) == [[], ["scheduler-1 two"]]
    marked = replace(SCHEDULE, deeds=[SCHEDULE.deeds[0], MARK])
    assert list(candidates(marked)) == [["scheduler-1 two"], []]


def test_what_a_person_did_waits_for_the_state_that_its_history_tells(tmp_path: Path) -> None:
    history = tmp_path / "history.ndjson"
    tale = HISTORIES / "legal-transition" / "invalid-a-marked-task-was-queued.ndjson"
    history.write_bytes(tale.read_bytes().replace(b'"r1"', b'"x3-ab-0"'))
    mark = replace(MARK, task="start")
    moved = replace(SCHEDULE, deeds=[SCHEDULE.deeds[0], mark])
    states = found_in(moved, history)
    assert states == {mark: "scheduled"}
    (_, waits) = bound(moved, ["scheduler-1 two"], states)
    assert waits.before == "scheduler-1 two scheduled"
    assert found_in(replace(moved, round=4), history) == {}
    assert found_in(moved, tmp_path / "none") == {}


def test_a_move_that_came_when_the_promise_was_broken_is_left_out() -> None:
    late = replace(SCHEDULE, deeds=[SCHEDULE.deeds[0], Deed("kill", "scheduler-1", 4)])
    assert bound(late, []) == SCHEDULE.deeds[:1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": [*SCHEDULE.steps, "scheduler-1 one"]}, "step 6 is 'scheduler-1 one'"),
        ({"yields": ["scheduler-1"]}, "yield 1 is 'scheduler-1'"),
        ({"points": ["dag"]}, "scan of TABLE"),
        (
            {"deeds": [{"do": "kill", "before": "scheduler-1 two"}]},
            "point of a move 1 is 'scheduler-1 two', not `PROCESS POINT NUMBER-OR-STATE`",
        ),
        ({"deeds": []}, "nothing is triggered"),
        ({"deeds": [{"do": "explode"}]}, "explode"),
        ({"deeds": [{"do": "cancel"}]}, "nothing is triggered"),
        ({"yields": ["banana two"]}, "'banana' is no process"),
        ({"steps": ["api-serve two arrived"]}, "'api-serve' is no process"),
        *(
            ({"deeds": [{"do": "trigger", "target": "serial", "run": "0"}, move]}, said)
            for move, said in (
                ({"do": "kill", "target": "banana"}, "'banana' is no process"),
                ({"do": "mark", "target": "serial", "run": "9", "task": "t"}, "of run '9'"),
                ({"do": "mark", "target": "serial", "run": "0", "task": "t"}, "mark is to ''"),
                ({"do": "resize", "target": "default_pool", "state": "few"}, "resize is to 'few'"),
                ({"do": "clear", "target": "serial", "run": "0"}, "clear names no task"),
                (
                    {"do": "cancel", "before": "scheduler-1 two often"},
                    "'often' is neither a number nor a state",
                ),
            )
        ),
        ({"another": 1}, "another"),
        ({"seed": "many"}, "seed"),
    ],
)
def test_a_bad_schedule_is_told_in_a_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "schedule.yaml"
    data = msgspec.to_builtins(SCHEDULE) | change
    path.write_bytes(msgspec.yaml.encode(data))
    with pytest.raises(UserError, match="is not a schedule") as told:
        schedules.read(path)
    assert said in str(told.value)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 99, "another": 1}, "of a newer version of this project: its schema is 99"),
        ({"schema": 0}, "of another version of this project: its schema is 0"),
        ({"broken": []}, "does not say which promise was broken"),
    ],
)
def test_a_schedule_that_is_of_no_use_here_is_told_in_a_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "schedule.yaml"
    path.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(SCHEDULE) | change))
    with pytest.raises(UserError, match=said) as told:
        schedules.read(path)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "{", "\x00", "history: 1"])
def test_a_foreign_file_is_told_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "foreign.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="Give a file that an exploration wrote") as told:
        schedules.read(path)
    assert len(str(told.value).splitlines()) == 1


def test_a_key_that_stands_twice_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "schedule.yaml"
    schedules.write(SCHEDULE, path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "seed: 7"]))
    with pytest.raises(UserError, match=rf"line {len(lines) + 1}: .*the key seed stands twice"):
        schedules.read(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        schedules.read(tmp_path / "none.yaml")


def test_a_statement_has_one_name_whatever_its_values() -> None:
    one = statement("SELECT a FROM asset WHERE a.id IN (1, 2, 3) AND b = 'it''s' FOR UPDATE")
    other = statement("SELECT a FROM asset WHERE a.id IN (7) AND b = 'x' FOR UPDATE")
    assert one.name == other.name
    assert one.name.startswith("select-locking-asset-")
    assert one.footprint.written == {"asset"}
    assert statement("SELECT a FROM asset").name != one.name


def test_its_pattern_fits_its_text() -> None:
    query = "SELECT a, b_c\nFROM asset_event\nWHERE asset_event.id IN (1, 2) AND x = 'y'"
    pattern = statement(query).pattern
    assert pattern.startswith("SELECT%FROM%asset\\_event")
    assert "'y'" not in pattern
