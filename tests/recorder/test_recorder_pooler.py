"""A pooler that shares sessions is refused before anything is done; one that does not is fine."""

import psycopg
import pytest

from recorder import audit, connection
from tests.recorder.pgbouncer import PROGRAM, pgbouncer
from tests.recorder.tables import Recording, installed
from tests.recorder.test_recorder_audit import catalogs

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


def test_a_server_itself_is_no_pooler(dsn: str) -> None:
    assert connection.shared_sessions(dsn) is None


@needs_pgbouncer
@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("idle", [0, 1, 5])
def test_transaction_pooling_is_recognised_however_sessions_are_picked(
    dsn: str, in_turn: bool, idle: int
) -> None:
    with pgbouncer(dsn, "transaction", in_turn=in_turn) as through:
        opened = [psycopg.connect(through) for _ in range(idle)]
        for each in opened:
            each.execute("SELECT 1")
        for each in opened:
            each.close()
        assert "shares its sessions" in (connection.shared_sessions(through) or "")


@needs_pgbouncer
@pytest.mark.parametrize(("mode", "size"), [("transaction", 1), ("statement", 10), ("session", 1)])
def test_a_pool_with_nothing_to_give_and_one_without_transactions_are_refused_soon(
    dsn: str, mode: str, size: int
) -> None:
    with pgbouncer(dsn, mode, size=size) as through:
        assert "a pooler is in between" in (connection.shared_sessions(through) or "")


@needs_pgbouncer
def test_nothing_is_done_through_a_transaction_pooler(dsn: str) -> None:
    before = catalogs(dsn)
    with pgbouncer(dsn, "transaction") as through:
        for refused in (audit.install, audit.rehearse):
            with pytest.raises(audit.AuditError, match="shares its sessions") as caught:
                refused(through)
            assert "\n" not in str(caught.value)
        with psycopg.connect(through, autocommit=True) as airflow:
            for setting in ("enable_seqscan", "lock_timeout", "client_min_messages"):
                found = airflow.execute(
                    f"SELECT setting = reset_val FROM pg_settings WHERE name = '{setting}'".encode()
                )
                assert found.fetchone() == (True,)
            assert airflow.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert catalogs(dsn) == before


@needs_pgbouncer
def test_session_pooling_is_worked_through_and_the_session_is_given_back_as_it_was(
    dsn: str,
) -> None:
    with pgbouncer(dsn, "session") as through:
        audit.install(through)
        recording = Recording(through)
        recording.poll()
        recording.reader.close()
        audit.remove(through)
    assert not installed(dsn)
