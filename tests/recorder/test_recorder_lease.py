"""Nobody reads any more: the audit's triggers stop by themselves, and Airflow goes on."""

import threading
import time

import psycopg
import pytest

from recorder import audit, database, lease
from recorder.connection import APPLICATION_NAME
from tests.labs import eventually
from tests.recorder.tables import Connect, Connection, Recording, add_task, installed, set_state
from tests.recorder.test_recorder_audit import rows

LAPSED = "SELECT setval('oracle.lease', extract(epoch FROM clock_timestamp())::bigint - 1)"


def value(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def airflow(dsn: str, connect: Connect) -> Connection:
    """Install the audit, and connect as a process of Airflow's."""
    audit.install(dsn)
    return connect("scheduler-1")


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_once_the_reader_is_not_believed_to_be_there_nothing_more_is_written(
    airflow: Connection, connect: Connect, isolation: str
) -> None:
    add_task(airflow, "t")
    busy = connect("scheduler-2", autocommit=False)
    busy.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
    busy.execute("SELECT FROM task_instance")
    airflow.execute(LAPSED)
    set_state(busy, "t", "queued")
    busy.execute("UPDATE dag_run SET state = 'success'")
    busy.execute("DELETE FROM task_instance")
    busy.commit()
    assert airflow.execute("SELECT state FROM dag_run").fetchall() == [("success",)]
    assert len(rows(airflow)) == 1
    assert "no reader" in (audit.fault(airflow) or "")
    assert value(airflow, "SELECT last_value FROM oracle.lost") == 1, "told once, not at each row"


def test_what_was_let_go_by_is_lost_though_it_was_rolled_back(
    airflow: Connection, connect: Connect
) -> None:
    airflow.execute(LAPSED)
    writer = connect("scheduler-2", autocommit=False)
    add_task(writer, "t")
    writer.rollback()
    assert audit.fault(airflow) is not None


def test_a_heartbeat_does_not_count_as_lost(airflow: Connection) -> None:
    add_task(airflow, "t")
    airflow.execute(LAPSED)
    airflow.execute("UPDATE task_instance SET last_heartbeat_at = now()")
    airflow.execute("UPDATE dag_run SET last_scheduling_decision = now()")
    assert audit.fault(airflow) is None


def test_one_statement_that_changes_everything_fills_no_disk(
    airflow: Connection,
) -> None:
    for number in range(10):
        add_task(airflow, f"t{number}")
    airflow.execute("SELECT setval('oracle.taken', last_value) FROM oracle.audit_seq_seq")
    airflow.execute("SELECT setval('oracle.audit_seq_seq', last_value + 499995) FROM oracle.taken")
    airflow.execute("UPDATE task_instance SET state = 'success'")
    assert len(rows(airflow)) == 10 + 6
    assert "too much was unread" in (audit.fault(airflow) or "")


def test_a_reader_says_that_it_is_there_and_how_far_it_has_read(
    airflow: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.0)
    recording = Recording(dsn)
    airflow.execute("SELECT setval('oracle.lease', 1)")
    add_task(airflow, "t")
    recording.poll()
    left = "SELECT last_value - extract(epoch FROM clock_timestamp()) FROM oracle.lease"
    assert lease.LEASE - 5 < value(airflow, left) <= lease.LEASE
    unread = "SELECT s.last_value - t.last_value FROM oracle.audit_seq_seq AS s, oracle.taken AS t"
    assert value(airflow, unread) == 0
    recording.reader.close()


def test_a_reader_that_comes_back_too_late_tells_the_loss_and_goes_on(
    airflow: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_MEASURE_EVERY", 0.0)
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.0)
    recording = Recording(dsn)
    airflow.execute(LAPSED)
    add_task(airflow, "missed")
    recording.poll()
    assert "no reader" in recording.stream.gaps[0]
    add_task(airflow, "seen")
    assert len([each for each in recording.poll() if hasattr(each, "ti")]) == 1
    recording.reader.close()


def test_whatever_moment_the_lease_ends_at_no_statement_fails_and_the_loss_is_told(
    airflow: Connection, dsn: str
) -> None:
    writers, changes = 4, 60
    for number in range(writers):
        add_task(airflow, f"t{number}")
    failed: list[psycopg.Error] = []

    def write(number: int) -> None:
        with psycopg.connect(dsn, autocommit=True, application_name=f"s{number}") as connection:
            for change in range(changes):
                try:
                    set_state(connection, f"t{number}", f"s{change}")
                except psycopg.Error as error:
                    failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(rows(airflow)) > writers + 20)
    airflow.execute(LAPSED)
    for thread in threads:
        thread.join()
    assert failed == []
    written = len(rows(airflow)) - writers
    assert written > 20
    assert (audit.fault(airflow) is None) is (written == writers * changes)


def test_what_cannot_be_written_is_told_once_however_many_rows_meet_it(
    airflow: Connection,
) -> None:
    for number in range(70):
        add_task(airflow, f"t{number}")
    airflow.execute("ALTER TABLE task_instance RENAME queued_by_job_id TO elsewhere")
    next_id = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    before = value(airflow, next_id)
    airflow.execute("UPDATE task_instance SET state = 'queued'")
    airflow.execute("UPDATE task_instance SET state = 'running'")
    assert len(rows(airflow, "gap")) == 1
    assert value(airflow, next_id) - before <= 4


def test_a_leftover_that_has_lapsed_is_used_again_as_long_as_it_missed_nothing(
    airflow: Connection, dsn: str
) -> None:
    airflow.execute(LAPSED)
    audit.install(dsn)
    add_task(airflow, "t")
    assert len(rows(airflow)) == 1


def test_where_another_session_records_none_is_installed_and_it_goes_on(
    airflow: Connection, dsn: str
) -> None:
    recording = Recording(dsn)
    for refused in (audit.install, audit.rehearse):
        with pytest.raises(audit.AuditError, match=r"another session records .* from 127\.0\.0\.1"):
            refused(dsn)
    add_task(airflow, "t")
    assert len(recording.poll()) == 1
    recording.reader.close()
    audit.install(dsn)
    assert installed(dsn)


def test_a_reader_whose_client_is_gone_is_in_nobodys_way(airflow: Connection, dsn: str) -> None:
    gone = Recording(dsn)
    airflow.execute(
        "SELECT setval('oracle.lease', extract(epoch FROM clock_timestamp())::bigint + %s)",
        (lease.LEASE - 61,),
    )
    audit.install(dsn)
    recording = Recording(dsn)
    assert recording.stream.gaps == []
    with pytest.raises(psycopg.OperationalError):
        gone.reader.poll()
    recording.reader.close()


def test_a_session_of_our_own_that_the_server_takes_for_alive_is_ended(
    airflow: Connection, dsn: str
) -> None:
    recording = Recording(dsn)
    link = recording.reader._link
    cut_off, link.connection = link.connection, None
    add_task(airflow, "t")
    assert len(recording.poll()) == 1
    assert recording.stream.gaps == []
    assert cut_off is not None
    time.sleep(0.1)
    with pytest.raises(psycopg.OperationalError):
        cut_off.execute("SELECT 1")
    sessions = value(
        airflow,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
        f"application_name = '{APPLICATION_NAME}'",
    )
    assert sessions == 1
    recording.reader.close()
