"""The database reader: every commit once, in order, whatever the writers and the links do."""

import random
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.embedded.postgres import SUPERUSER, Postgres
from oracle.events import (
    DagRunEvent,
    Event,
    LedgerEvent,
    NoteEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from recorder import audit
from recorder.connection import APPLICATION_NAME
from tests.recorder.tables import Connect, Recording, add_task, make_database, set_state

WRITERS = 8
TRANSACTIONS = 60


def states(events: list[Event]) -> list[tuple[str, str | None]]:
    return [
        (event.ti.task_id, event.new.state if event.new else None)
        for event in events
        if isinstance(event, TaskInstanceEvent)
    ]


def test_what_is_there_before_it_begins_is_not_told(dsn: str, connect: Connect) -> None:
    audit.install(dsn)
    add_task(connect(), "old")
    recording = Recording(dsn)
    add_task(connect(), "new")
    assert states(recording.poll()) == [("new", None)]
    recording.reader.close()


def test_a_transaction_that_began_first_and_commits_last_is_told_last_and_once(
    recording: Recording, connect: Connect
) -> None:
    slow = connect("scheduler-1", autocommit=False)
    add_task(slow, "slow")
    add_task(connect("scheduler-2"), "quick")
    assert states(recording.poll()) == [("quick", None)]
    assert recording.poll() == []
    slow.commit()
    assert states(recording.poll()) == [("slow", None)]
    assert recording.poll() == []


def test_commits_between_two_polls_are_told_in_order_of_commit(
    recording: Recording, connect: Connect
) -> None:
    first, second = connect("a", autocommit=False), connect("b", autocommit=False)
    add_task(first, "first begun")
    add_task(second, "first committed")
    second.commit()
    first.commit()
    events = recording.poll()
    assert states(events) == [("first committed", None), ("first begun", None)]
    assert events[0].t < events[1].t


def test_time_is_that_of_the_commit_on_the_database_s_clock(
    recording: Recording, connect: Connect
) -> None:
    writer = connect(autocommit=False)
    add_task(writer, "t")
    before = recording.clock.now()
    time.sleep(0.05)
    writer.commit()
    after = recording.clock.now()
    (event,) = recording.poll()
    assert before < event.t <= after + 0.01


def test_a_rollback_leaves_no_event(recording: Recording, connect: Connect) -> None:
    writer = connect(autocommit=False)
    add_task(writer, "t")
    writer.rollback()
    assert recording.poll() == []


def test_runs_and_ledger_entries_become_events(recording: Recording, connect: Connect) -> None:
    connect("api-server").execute("UPDATE dag_run SET state = 'success'")
    connect("task").execute(
        """INSERT INTO oracle.audit (kind, body) VALUES ('ledger', '{"op": "start", "dag_id": "d",
        "run_id": "r", "task_id": "t", "map_index": 2, "try_number": 1, "pod": "p", "pid": 7}')"""
    )
    run, ledger = recording.poll()
    assert isinstance(run, DagRunEvent)
    assert (run.op, run.old, run.new, run.process) == ("update", "running", "success", "api-server")
    assert isinstance(ledger, LedgerEvent)
    assert ledger.ti == TaskInstanceKey("d", "r", "t", 2)
    assert (ledger.op, ledger.try_number, ledger.pod, ledger.pid) == ("start", 1, "p", 7)


def test_a_row_that_cannot_be_understood_is_a_gap_and_the_rest_is_told(
    recording: Recording, connect: Connect
) -> None:
    connect("task").execute(
        "INSERT INTO oracle.audit (kind, body) VALUES ('ledger', '{\"op\": 1}')"
    )
    add_task(connect(), "t")
    assert ("t", None) in states(recording.poll())
    assert len(recording.stream.gaps) == 1


def test_eight_writers_at_once_miss_nothing_and_repeat_nothing(
    recording: Recording, connect: Connect, dsn: str
) -> None:
    tasks = [f"t{number}" for number in range(12)]
    setup = connect()
    for task in tasks:
        add_task(setup, task)
    stop = threading.Event()
    reading = threading.Thread(target=recording.reader.run, args=(stop,))
    reading.start()
    writers = [
        threading.Thread(target=write, args=(dsn, f"scheduler-{n}", tasks)) for n in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    reading.join()
    recording.reader.finish(5.0)

    _, events = recording.stream.after(0)
    told = [event for event in events if isinstance(event, TaskInstanceEvent)]
    assert recording.stream.gaps == []
    assert sorted(essence(event) for event in told) == sorted(audited(setup))
    assert len({event.process for event in told if event.op == "update"}) == WRITERS
    assert_rows_follow_their_own_history(told)
    assert_rows_follow_their_own_history(sorted(told, key=lambda event: event.t))


def write(dsn: str, process: str, tasks: list[str]) -> None:
    """Change some tasks in each transaction, in one order (no deadlocks); roll some back."""
    dice = random.Random(process)
    with psycopg.connect(dsn, application_name=process) as connection:
        for number in range(TRANSACTIONS):
            for task in sorted(dice.sample(tasks, dice.randint(1, 4))):
                connection.execute(
                    "UPDATE task_instance SET state = %s, try_number = try_number + 1 "
                    "WHERE task_id = %s",
                    (f"{process[-1]}.{number}", task),
                )
            time.sleep(dice.random() * 0.004)
            if dice.random() < 0.15:
                connection.rollback()
            else:
                connection.commit()


def essence(event: TaskInstanceEvent) -> tuple[Any, ...]:
    tries = tuple(row.try_number if row else None for row in (event.old, event.new))
    return str(event.xid), event.ti.task_id, event.process, str(tries)


def audited(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    found = connection.execute(
        "SELECT xid::text, body->>'task_id', process, (body->'old'->>'try_number')::int, "
        "(body->'new'->>'try_number')::int FROM oracle.audit"
    )
    return [(*row[:3], str(row[3:])) for row in found]


def assert_rows_follow_their_own_history(events: list[TaskInstanceEvent]) -> None:
    """Each change of a row begins with what the change before left."""
    last: dict[TaskInstanceKey, object] = defaultdict(lambda: None)
    for event in events:
        assert event.old == last[event.ti]
        last[event.ti] = event.new


def test_changes_while_its_connection_is_cut_are_told_when_it_is_back(
    postgres: Postgres, recording: Recording, connect: Connect
) -> None:
    stop = threading.Event()
    reading = threading.Thread(target=recording.reader.run, args=(stop,))
    reading.start()
    writer = connect()
    for number in range(5):
        cut(postgres)
        add_task(writer, f"t{number}")
    recording.stream.wait(lambda e: isinstance(e, NoteEvent) and "without the" in e.text, 10.0)
    recording.stream.wait(lambda e: states([e]) == [("t4", None)], 10.0)
    stop.set()
    reading.join()
    assert states(recording.stream.after(0)[1]) == [(f"t{n}", None) for n in range(5)]
    assert recording.stream.gaps == []


def cut(postgres: Postgres) -> None:
    """End the reader's connection, once it has one."""
    with psycopg.connect(postgres.dsn(SUPERUSER, SUPERUSER), autocommit=True) as connection:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            cut = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s",
                (APPLICATION_NAME,),
            )
            if cut.fetchall():
                return
            time.sleep(0.02)
    raise AssertionError("the reader never came back")


def test_an_audit_that_is_switched_off_is_a_gap_at_the_end(
    recording: Recording, connect: Connect
) -> None:
    connect().execute("ALTER TABLE task_instance DISABLE TRIGGER oracle_changed")
    recording.reader.finish(1.0)
    assert "switched off" in recording.stream.gaps[0]


def test_a_database_without_the_audit_is_refused(dsn: str) -> None:
    with pytest.raises(audit.AuditError, match="not installed"):
        Recording(dsn)


def test_the_state_of_a_row_by_its_id_is_what_it_is_now(
    recording: Recording, connect: Connect
) -> None:
    add_task(connect(), "t", "running")
    row = connect().execute("SELECT id::text FROM task_instance").fetchone()
    assert row is not None
    assert recording.reader.state_now(row[0]) == (True, "running")
    assert recording.reader.state_now("00000000-0000-0000-0000-000000000000") == (False, None)


def test_an_archived_row_is_there_though_the_execution_api_does_not_know_it(
    recording: Recording, connect: Connect
) -> None:
    add_task(connect(), "t", "failed")
    connect().execute("ALTER TABLE task_instance ADD working_set boolean")
    row = connect().execute("SELECT id::text FROM task_instance").fetchone()
    assert row is not None
    recording.reader.model = "row-per-attempt"
    assert recording.reader.state_now(row[0]) == (False, None)
    assert recording.reader.has_row(row[0])
    assert not recording.reader.has_row("00000000-0000-0000-0000-000000000000")


@pytest.fixture
def forgetful() -> Iterator[Postgres]:
    """Run a server of its own that keeps no commit times."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    directory.chmod(0o755)
    server = Postgres(directory)
    server.initialise()
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write("track_commit_timestamp = off\n")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


def test_without_commit_times_rows_keep_their_order_and_a_lost_end_is_a_gap(
    forgetful: Postgres,
) -> None:
    dsn = make_database(forgetful)
    audit.install(dsn)
    recording = Recording(dsn)
    with psycopg.connect(dsn) as connection:
        add_task(connection, "t")
        connection.commit()
        for state in ("scheduled", "queued", "running"):
            set_state(connection, "t", state)
            connection.commit()
    events = recording.poll()
    assert [state for _, state in states(events)] == [None, "scheduled", "queued", "running"]
    noted = [e.text for e in recording.seen if isinstance(e, NoteEvent)]
    assert any("not tracked" in text for text in noted)
    assert not recording.reader.by_commit

    forgetful.stop()
    recording.reader.finish(0.3)
    assert "could not be read to the end" in recording.stream.gaps[0]
