"""Locks on Airflow's tables: taken in a moment, or given up before anybody has waited for long.

Who waits for a lock has all wait who come later. So each try is short, shorter than what PostgreSQL
takes to look for deadlocks: it is never one of Airflow's transactions that is ended for one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import tenacity

from common.redaction import first_line
from recorder.connection import Connection, connect, transaction
from recorder.tables import WATCHED, AuditError

_LOCK_TIMEOUT = "500ms"
"""Less than PostgreSQL's default deadlock_timeout (1 s): whoever has to give way, it is us."""

_LONGER_THAN_DEADLOCKS = """
    SELECT pg_catalog.set_config('lock_timeout', setting::int + 500 || 'ms', true)
    FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'
"""
# Autovacuum's session is nobody's: no user, and no name of an application.
_HOLDERS = """
    SELECT DISTINCT coalesce(nullif(a.application_name, ''), a.usename, 'autovacuum')
        || ' (pid ' || l.pid || CASE WHEN l.mode = 'ShareUpdateExclusiveLock'
            THEN ', VACUUM or its like)' ELSE ')' END,
        l.relation::regclass::text, l.mode = 'ShareUpdateExclusiveLock' AND a.usename IS NULL
    FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND l.mode <> 'AccessShareLock'
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
        AND l.relation IN (to_regclass('dag_run'), to_regclass('task_instance'))
"""


def lock(connection: Connection, mode: str) -> None:
    """Take a lock on both of Airflow's tables, those that are there."""
    for table in WATCHED:
        if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())


@contextmanager
def in_a_line() -> Iterator[None]:
    """Say in a line, without secrets, what the database has against it."""
    try:
        yield
    except psycopg.Error as error:
        raise AuditError(
            f"the audit cannot be installed or removed: {first_line(error)}"
        ) from error


@contextmanager
def _transaction(where: str | Connection) -> Iterator[Connection]:
    """Lend a transaction on a connection of its own, where `where` is a dsn, or on that one."""
    if isinstance(where, str):
        with connect(where, autocommit=True, timeout=10) as own, transaction(own):
            yield own
    else:
        with transaction(where):
            yield where


def patiently(where: str | Connection, timeout: float, work: Callable[[Connection], None]) -> None:
    """Do `work` in one transaction; again, while others hold the tables, for `timeout` seconds."""
    holders = "somebody"

    def once() -> None:
        nonlocal holders
        try:
            with _transaction(where) as connection:
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute("SET LOCAL client_min_messages = warning")
                work(connection)
        except psycopg.errors.LockNotAvailable:
            holders = _make_vacuum_yield(where) or holders
            raise

    trying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg.errors.LockNotAvailable),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(timeout),
        reraise=True,
    )
    with in_a_line():
        try:
            trying(once)
        except psycopg.errors.LockNotAvailable as error:
            raise AuditError(
                f"Airflow's tables stayed locked for {timeout:.0f} s, by {holders}; wait for its "
                "end, or end it"
            ) from error


def _make_vacuum_yield(where: str | Connection) -> str:
    """Have autovacuum let go of Airflow's tables; return who holds them, empty when nobody does.

    PostgreSQL cancels an autovacuum that somebody has waited for as long as `deadlock_timeout`. So
    long waits are for a lock that none of Airflow's statements conflicts with, and with nothing
    else held meanwhile.
    """
    with _transaction(where) as connection:
        found = connection.execute(_HOLDERS.encode()).fetchall()
    for table in {str(table) for _, table, vacuums in found if vacuums}:
        with suppress(psycopg.errors.LockNotAvailable), _transaction(where) as connection:
            connection.execute(_LONGER_THAN_DEADLOCKS.encode())
            connection.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE".encode())
    return ", ".join(sorted({str(who) for who, _, _ in found}))
