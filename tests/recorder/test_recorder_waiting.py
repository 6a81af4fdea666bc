"""Why something waits is asked of the database, of what is unended in the history alone."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from oracle.events import (
    WAITS_KNOWN,
    AssumptionEvent,
    DagRunEvent,
    Header,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
    WaitingEvent,
)
from recorder import waiting as recorder_waiting
from recorder.waiting import WaitingReader
from tests.recorder.tables import Connection


@pytest.fixture
def database(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM dag_run")
        yield connection


def add_run(
    database: Connection, run_id: str, state: str, day: int = 1, backfill: int | None = None
) -> None:
    database.execute(
        "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after, logical_date, "
        "backfill_id) VALUES ('d', %s, %s, 'manual', %s, %s, %s)",
        (run_id, state, f"2026-01-{day:02}", f"2026-01-{day:02}", backfill),
    )


def add_task(
    database: Connection,
    run_id: str,
    task_id: str,
    state: str | None,
    pool: str = "default_pool",
    executor: str | None = None,
    map_index: int = -1,
) -> None:
    database.execute(
        "INSERT INTO task_instance (id, task_id, dag_id, run_id, state, try_number, pool, "
        "pool_slots, executor, map_index) VALUES (gen_random_uuid(), %s, 'd', %s, %s, 0, %s, 1, "
        "%s, %s)",
        (task_id, run_id, state, pool, executor, map_index),
    )


ATTEMPTS = Header(1, "r", "3.4.0b2", "embedded", ["s"], 1, 0.0, attempts="row-per-attempt")


def asked(
    dsn: str, *runs: str, header: Header | None = None
) -> list[tuple[str, str | None, str | None, str]]:
    """Return what is said to wait when these runs are unended in the history."""
    reader = WaitingReader(lambda: dsn)
    if header:
        reader.begin(header)
    for run_id in runs:
        reader.feed(DagRunEvent(0.0, "insert", "d", run_id, None, "running", "api-server"))
    told = reader.ask(9.0)
    waiting = [event for event in told if isinstance(event, WaitingEvent)]
    assert waiting == told, "the database could be asked"
    return [(event.run_id, event.task_id, event.state, event.why) for event in waiting]


def test_what_waits_for_nothing_has_no_reason(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    add_run(database, "r2", "queued", 2)
    for state in (None, "scheduled", "queued", "running", "up_for_retry"):
        add_task(database, "r1", f"t-{state}", state)
    assert asked(dsn, "r1", "r2") == []


def test_a_paused_dag_s_runs_wait(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    database.execute("UPDATE dag SET is_paused = true")
    assert asked(dsn, "r1") == [("r1", None, None, "DAG d is paused")]
    assert asked(dsn, "another") == [], "only what is unended in the history is looked up"


def test_a_run_of_a_dag_that_is_gone_waits(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    database.execute("UPDATE dag SET is_stale = true")
    assert asked(dsn, "r1") == [("r1", None, None, "DAG d is no longer there")]


def test_a_queued_run_waits_behind_max_active_runs(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    add_run(database, "r2", "queued", 2)
    database.execute("UPDATE dag SET max_active_runs = 2")
    assert asked(dsn, "r1", "r2") == []
    database.execute("UPDATE dag SET max_active_runs = 1")
    why = "max_active_runs of DAG d is 1, and 1 of its runs are running"
    assert asked(dsn, "r1", "r2") == [("r2", None, None, why)]


def test_a_backfill_has_limits_of_its_own(dsn: str, database: Connection) -> None:
    database.execute("INSERT INTO backfill (max_active_runs) VALUES (1)")
    add_run(database, "other", "running")
    add_run(database, "b1", "queued", 2, backfill=1)
    database.execute("UPDATE dag SET max_active_runs = 1")
    assert asked(dsn, "b1") == []
    database.execute("UPDATE backfill SET is_paused = true")
    assert asked(dsn, "b1") == [("b1", None, None, "its backfill is paused")]


def test_a_run_of_the_future_waits_for_its_time(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "queued")
    database.execute("UPDATE dag_run SET run_after = now() + interval '1 hour'")
    assert asked(dsn, "r1") == [("r1", None, None, "it is due at a later time")]


@pytest.mark.parametrize(
    ("slots", "include_deferred", "waits"),
    [(0, False, True), (1, False, True), (2, False, False), (2, True, True), (-1, True, False)],
)
def test_a_scheduled_task_waits_for_its_pool(
    dsn: str, database: Connection, slots: int, include_deferred: bool, waits: bool
) -> None:
    database.execute(
        "INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('p', %s, %s)",
        (slots, include_deferred),
    )
    add_run(database, "r1", "running")
    add_task(database, "r1", "deferred", "deferred", "p")
    add_task(database, "r1", "at-work", "running", "p")
    add_task(database, "r1", "t", "scheduled", "p")
    taken = 1 + include_deferred
    why = f"pool p has {slots} slots, and {taken} are taken"
    assert asked(dsn, "r1") == ([("r1", "t", "scheduled", why)] if waits else [])


def test_a_pool_that_is_not_there_lets_nothing_through(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    add_task(database, "r1", "t", "scheduled", "gone")
    assert asked(dsn, "r1") == [("r1", "t", "scheduled", "there is no pool gone")]


def test_limits_on_active_tasks_hold_a_task_back(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    for index in range(2):
        add_task(database, "r1", "t", "running", map_index=index)
    for index in (2, 3):
        add_task(database, "r1", "t", "scheduled", map_index=index)
    assert asked(dsn, "r1") == []
    database.execute("UPDATE dag SET has_task_concurrency_limits = true")
    why = "task t may have a limit of active instances, and 2 are active"
    assert asked(dsn, "r1") == [("r1", "t", "scheduled", why)], "told once for all its instances"
    database.execute("UPDATE dag SET max_active_tasks = 2")
    why = "max_active_tasks of DAG d is 2, and 2 are active in its run"
    assert asked(dsn, "r1") == [("r1", "t", "scheduled", why)]


def test_what_another_executor_runs_is_told(dsn: str, database: Connection) -> None:
    add_run(database, "r1", "running")
    add_task(database, "r1", "c", "queued", executor="CeleryExecutor")
    add_task(database, "r1", "k", "queued", executor="KubernetesExecutor")
    assert asked(dsn, "r1") == [("r1", "c", "queued", "it is CeleryExecutor's")]


@pytest.mark.parametrize(
    ("task", "before", "waits"),
    [
        ({"task_id": "t", "depends_on_past": True}, "failed", True),
        ({"task_id": "t", "depends_on_past": True}, "success", False),
        ({"task_id": "t", "partial_kwargs": {"depends_on_past": True}}, "failed", True),
        ({"task_id": "t"}, "failed", False),
        ({"task_id": "other", "depends_on_past": True}, "failed", False),
        (None, "failed", True),
    ],
)
def test_a_task_waits_for_its_past(
    dsn: str, database: Connection, task: dict[str, object] | None, before: str, waits: bool
) -> None:
    data = {"dag": {"tasks": [{"__type": "operator", "__var": task}]}}
    database.execute(
        "INSERT INTO serialized_dag (dag_id, data) VALUES ('d', %s)",
        (Jsonb(data) if task else None,),
    )
    add_run(database, "r0", "failed", 1)
    add_task(database, "r0", "t", before)
    add_run(database, "r1", "running", 2)
    add_task(database, "r1", "t", None)
    why = "it may depend on its past, and the run before has not succeeded"
    assert asked(dsn, "r1") == ([("r1", "t", None, why)] if waits else [])


def test_where_an_attempt_is_a_row_archived_ones_take_no_slot(
    dsn: str, database: Connection
) -> None:
    database.execute("ALTER TABLE task_instance ADD working_set boolean DEFAULT true")
    database.execute("UPDATE slot_pool SET slots = 1")
    add_run(database, "r1", "running")
    add_task(database, "r1", "archived", "running")
    database.execute("UPDATE task_instance SET working_set = NULL")
    add_task(database, "r1", "t", "scheduled")
    assert asked(dsn, "r1", header=ATTEMPTS) == []


def test_an_archived_attempt_that_is_deleted_ends_nothing() -> None:
    reader = WaitingReader(lambda: "host=127.0.0.1 port=1")
    reader.begin(ATTEMPTS)
    ti = TaskInstanceKey("d", "r1", "t")
    gone = Row("a", "failed", 1, archived=True)
    reader.feed(TaskInstanceEvent(1.0, "insert", ti, None, Row("b", "queued", 2), "s", 1))
    reader.feed(TaskInstanceEvent(2.0, "delete", ti, gone, None, "s", 2))
    (told,) = reader.ask(9.0)
    assert isinstance(told, AssumptionEvent), "what is unended is asked about, here in vain"


def test_what_has_ended_is_not_asked_about(database: Connection) -> None:
    database.close()
    reader = WaitingReader(lambda: "host=127.0.0.1 port=1")
    ti = TaskInstanceKey("d", "r1", "t")
    for state in ("running", "success"):
        reader.feed(DagRunEvent(0.0, "update", "d", "r1", None, state, "scheduler-1"))
        reader.feed(TaskInstanceEvent(0.0, "update", ti, Row("i"), Row("i", state), "scheduler-1"))
    assert reader.ask(9.0) == []


def test_a_database_that_cannot_be_asked_leaves_what_waits_unknown(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(dsn: str) -> AssumptionEvent:
        reader = WaitingReader(lambda: dsn)
        reader.feed(DagRunEvent(0.0, "insert", "d", "r", None, "running", "api-server"))
        (event,) = reader.ask(9.0)
        assert isinstance(event, AssumptionEvent)
        assert (event.name, event.met) == (WAITS_KNOWN, False)
        assert "\n" not in event.value
        return event

    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE dag RENAME is_paused TO renamed")
    assert "is_paused does not exist" in told(dsn).value
    assert "the database could not be asked" in told("host=127.0.0.1 port=1").value
    monkeypatch.setattr(recorder_waiting, "MOST_RUNS", 0)
    assert told(dsn).value == "1 runs are unended, 0 are asked about"
