"""A process is held at its commit: with all its locks, by what it wrote, and by nothing else."""

import os
import signal

import psycopg
import pytest
from psycopg import errors

from chaos.holds.hold import Hold, HoldError
from chaos.holds.installer import OURS
from chaos.holds.points import Point
from common.errors import UserError
from tests.lab.miniature import Process
from tests.lab.proxied import eventually

pytest_plugins = ["tests.lab.miniature_fixtures"]

ANY = Point("dag_run", row={}, name="commit of dag_run")


def write(process: Process, state: str = "running", table: str = "dag_run") -> None:
    process.run("BEGIN")
    process.run(f"UPDATE {table} SET state = '{state}'")


def state(process: Process) -> str:
    return str(process.run("SELECT DISTINCT state FROM dag_run")[0]["state"])


def locks(process: Process) -> list[tuple[int, bool]]:
    return [
        tuple(row.values())
        for row in process.run(f"SELECT pid, granted FROM pg_locks WHERE {OURS}")
    ]


def test_at_commit_every_lock_is_held_and_nothing_is_seen(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    before = state(scheduler_1)
    with Hold(dsn, "scheduler-2", ANY) as hold:
        write(scheduler_2, "success")
        scheduler_2.begin("COMMIT")
        held = hold.wait_held(timeout=40)
        assert (held.process, held.query) == ("scheduler-2", "COMMIT")
        assert state(scheduler_1) == before
        with pytest.raises(errors.LockNotAvailable):
            scheduler_1.run("SELECT FROM dag_run FOR UPDATE NOWAIT")
        hold.release()
        assert scheduler_2.ended(40)
    assert state(scheduler_1) == "success"


@pytest.mark.parametrize(
    ("point", "held"),
    [
        (Point("dag_run", row={"state": "failed"}), True),
        (Point("dag_run", row={"state": "success"}), False),
        (Point("dag_run", "UPDATE dag_run%", row={}), True),
        (Point("dag_run", "DELETE%", row={}), False),
        (Point("task_instance", row={}), False),
    ],
    ids=["row", "other-row", "statement", "other-statement", "other-table"],
)
def test_a_commit_is_named_by_table_row_and_statement(
    dsn: str, scheduler_2: Process, point: Point, held: bool
) -> None:
    with Hold(dsn, "scheduler-2", point) as hold:
        write(scheduler_2, "failed")
        scheduler_2.begin("COMMIT")
        assert scheduler_2.ended(0.3) is not held
        assert bool(hold.held()) is held
    assert scheduler_2.ended(40)


@pytest.mark.parametrize(
    ("column", "hint"),
    [("stat", "Did you mean state?"), ("zzz", "It has ")],
)
def test_a_column_that_the_table_has_not_is_refused_before_anything_is_held(
    dsn: str, column: str, hint: str
) -> None:
    with pytest.raises(UserError) as refused:
        Hold(dsn, "scheduler-2", Point("dag_run", row={column: "running"})).hold()
    assert refused.value.message == f"The table dag_run has no column {column!r}."
    assert refused.value.hint.startswith(hint)


def test_lets_pass_who_rolls_back_who_only_reads_and_others(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    with Hold(dsn, "scheduler-2", ANY):
        write(scheduler_2)
        scheduler_2.begin("ROLLBACK")
        assert scheduler_2.ended(40)
        scheduler_2.run("BEGIN")
        scheduler_2.run("SELECT FROM dag_run FOR UPDATE")
        scheduler_2.begin("COMMIT")
        assert scheduler_2.ended(40)
        write(scheduler_1)
        scheduler_1.begin("COMMIT")
        assert scheduler_1.ended(40)


def test_what_a_savepoint_took_back_holds_nobody(dsn: str, scheduler_2: Process) -> None:
    with Hold(dsn, "scheduler-2", ANY):
        scheduler_2.run("BEGIN")
        scheduler_2.run("SAVEPOINT before")
        scheduler_2.run("UPDATE dag_run SET state = 'failed'")
        scheduler_2.run("ROLLBACK TO before")
        scheduler_2.begin("COMMIT")
        assert scheduler_2.ended(40)


def test_a_commit_is_held_once_however_many_rows_it_wrote(dsn: str, scheduler_2: Process) -> None:
    scheduler_2.run(
        "INSERT INTO dag_run (dag_id, run_id, state) SELECT 'd', n, 'queued' FROM"
        " generate_series(1, 9) AS n"
    )
    with Hold(dsn, "scheduler-2", ANY) as hold:
        scheduler_2.begin("UPDATE dag_run SET state = 'failed'")
        first = hold.wait_held(timeout=40)
        assert first.query.startswith("UPDATE"), "a statement alone is its own transaction"
        hold.release()
        assert scheduler_2.ended(40)
        hold.hold()
        scheduler_2.begin("DELETE FROM dag_run")
        hold.wait_held(timeout=40)
        hold.release()
        assert scheduler_2.ended(40)


def test_two_holds_of_one_commit_each_hold_it(dsn: str, scheduler_2: Process) -> None:
    with Hold(dsn, "scheduler-2", ANY) as one, Hold(dsn, "scheduler-*", ANY) as other:
        write(scheduler_2)
        scheduler_2.begin("COMMIT")
        one.wait_held(timeout=40)
        one.release()
        other.wait_held(timeout=40)
        other.release()
        assert scheduler_2.ended(40)


@pytest.mark.parametrize("point", [Point("dag"), ANY], ids=["statement", "commit"])
def test_a_cancelled_hold_fails_the_transaction_and_a_terminated_one_the_connection(
    dsn: str, scheduler_1: Process, point: Point
) -> None:
    before = state(scheduler_1)
    for process, error, strike in (
        (Process(dsn, "scheduler-3"), errors.QueryCanceled, Hold.cancel),
        (Process(dsn, "scheduler-3"), psycopg.OperationalError, Hold.terminate),
    ):
        told: list[tuple[str, ...]] = []
        with Hold(dsn, "scheduler-3", point, record=lambda *event: told.append(event)) as hold:  # noqa: B023
            process.run("BEGIN")
            if point.row is None:
                process.begin("SELECT FROM dag")
            else:
                process.run("UPDATE dag_run SET state = 'failed'")
                process.begin("COMMIT")
            hold.wait_held(timeout=40)
            strike(hold)
            assert process.ended(40)
            assert isinstance(process.error, error)
            with pytest.raises(HoldError, match="is not held now"):
                strike(hold)
        assert [event[0] for event in told] == ["hold", "held", strike.__name__, "release"]
    assert state(scheduler_1) == before


@pytest.mark.parametrize("point", [Point("dag"), ANY], ids=["statement", "commit"])
def test_who_is_cancelled_as_it_is_released_keeps_no_lock(
    dsn: str, scheduler_1: Process, point: Point
) -> None:
    process = Process(dsn, "scheduler-3")
    backend = process.connection.info.backend_pid
    with Hold(dsn, "scheduler-3", point) as hold:
        process.run("BEGIN")
        process.run("UPDATE dag_run SET state = 'failed'")
        process.begin("SELECT FROM dag" if point.row is None else "COMMIT")
        hold.wait_held(timeout=40)
        # It learns of both at once, as it may when the machine is busy.
        os.kill(backend, signal.SIGSTOP)
        try:
            hold.cancel()
            hold.release()
            assert eventually(lambda: locks(scheduler_1) == [(backend, True)])
        finally:
            os.kill(backend, signal.SIGCONT)
    assert process.ended(40)
    assert isinstance(process.error, errors.QueryCanceled)
    assert not locks(scheduler_1)
