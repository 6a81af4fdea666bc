"""Puts the audit into Airflow's metadata database and takes it out again, without a trace.

The owner of Airflow's tables is enough for it; no superuser is needed, so it works on a managed
PostgreSQL too. What is installed stands in `audit.sql`.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import psycopg
import tenacity
from psycopg import sql

_SCRIPT = Path(__file__).with_name("audit.sql").read_text()
_MARK = "ha-chaos audit " + hashlib.sha256(_SCRIPT.encode()).hexdigest()[:16]

_WATCHED = ("dag_run", "task_instance")
"""Locked in Airflow's own order; the other way round would be a deadlock in waiting."""

_LOCK_TIMEOUT = "500ms"
"""Less than PostgreSQL's default deadlock_timeout (1 s): whoever has to give way, it is us."""

_Connection = psycopg.Connection[tuple[object, ...]]


class AuditError(Exception):
    """The audit cannot be installed, removed or read; the message is one clear line."""


def install(dsn: str, timeout: float = 30.0) -> None:
    """Install the audit, or leave it alone where this very audit is installed already.

    Another edition of it is replaced, rows and all. Waits up to `timeout` seconds for Airflow's
    transactions to let go of the tables. Raises AuditError.
    """

    def work(connection: _Connection) -> None:
        if intact(connection):
            return
        _lock(connection)
        connection.execute("DROP SCHEMA IF EXISTS oracle CASCADE")
        connection.execute(_SCRIPT.encode())
        connection.execute(sql.SQL("COMMENT ON SCHEMA oracle IS {}").format(_MARK))

    _patiently(dsn, timeout, work)


def remove(dsn: str, timeout: float = 30.0) -> None:
    """Remove all that `install` made; nothing happens where there is nothing. Raises AuditError."""

    def work(connection: _Connection) -> None:
        if connection.execute("SELECT to_regnamespace('oracle')").fetchone() != (None,):
            _lock(connection)
            connection.execute("DROP SCHEMA oracle CASCADE")

    _patiently(dsn, timeout, work)


def installed(dsn: str) -> bool:
    """Tell whether this edition of the audit is installed and switched on. Raises AuditError."""
    try:
        with psycopg.connect(dsn) as connection:
            return intact(connection)
    except psycopg.Error as error:
        raise AuditError(f"the audit cannot be looked for: {_line(error)}") from error


def intact(connection: _Connection) -> bool:
    """Tell the same on an open connection: the right edition, and all its triggers enabled."""
    found = connection.execute(
        """
        SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') = %s AND 4 = (
            SELECT count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p
            ON p.oid = t.tgfoid WHERE p.pronamespace = n.oid AND t.tgenabled = 'O')
        FROM pg_catalog.pg_namespace n WHERE n.nspname = 'oracle'
        """,
        (_MARK,),
    ).fetchone()
    return found == (True,)


def _lock(connection: _Connection) -> None:
    for table in _WATCHED:
        lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table))
        connection.execute(lock)


def _patiently(dsn: str, timeout: float, work: Callable[[_Connection], None]) -> None:
    """Do `work` in one transaction; again, while others hold the tables, for `timeout` seconds."""

    def attempt() -> None:
        with psycopg.connect(dsn, application_name="ha-chaos-recorder") as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.execute("SET LOCAL client_min_messages = warning")
            work(connection)

    try:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(psycopg.errors.LockNotAvailable),
            wait=tenacity.wait_fixed(0.1),
            stop=tenacity.stop_after_delay(timeout),
            reraise=True,
        )(attempt)
    except psycopg.errors.LockNotAvailable as error:
        raise AuditError(
            f"Airflow's tables stayed locked for {timeout:.0f} s; is a process held at a gate?"
        ) from error
    except psycopg.errors.UndefinedTable as error:
        raise AuditError("this is no migrated database of Airflow: no task_instance") from error
    except psycopg.Error as error:
        raise AuditError(f"the audit cannot be installed or removed: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
