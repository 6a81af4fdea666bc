"""Puts the audit into Airflow's metadata database and takes it out again, without a trace.

The owner of Airflow's tables is enough for it; no superuser is needed, so it works on a managed
PostgreSQL too. What is installed stands in `audit.sql`. Before that, the tables' columns are looked
at, and the functions are proven; what is refused leaves nothing behind.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import tenacity
from psycopg import sql

from common.redaction import first_line
from oracle.events import RowModel
from recorder import audit_proof, audit_tables, pooler
from recorder.audit_tables import WATCHED, Connection

_SCRIPT = Path(__file__).with_name("audit.sql").read_text()
_OURS = "ha-chaos audit "
"""How the comment of our schema begins, in every edition; without it the schema is not ours."""

_TRIGGERS = """
    CREATE TRIGGER oracle_changed AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION oracle.{function}();
    CREATE TRIGGER oracle_emptied AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION oracle.record_emptied();
"""
_FUNCTIONS = {"dag_run": "record_run", "task_instance": "record_ti"}

_LOCK_TIMEOUT = "500ms"
"""Less than PostgreSQL's default deadlock_timeout (1 s): whoever has to give way, it is us."""

# What is UNLOGGED is in no publication and in nobody's stream of changes; a crash empties it. So it
# is that only where somebody would be sent it: all tables published, or a slot that decodes all.
_REPLICATED = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE puballtables) OR EXISTS (
        SELECT FROM pg_catalog.pg_replication_slots
        WHERE slot_type = 'logical' AND database = current_database())
"""
_COMMENT = """
    SELECT pg_catalog.obj_description(oid, 'pg_namespace') FROM pg_catalog.pg_namespace
    WHERE nspname = 'oracle'
"""
_ENABLED = """
    SELECT count(*) FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    WHERE p.pronamespace = to_regnamespace('oracle') AND t.tgenabled = 'O'
        AND t.tgrelid IN (to_regclass('dag_run'), to_regclass('task_instance'))
"""
_WHOLE = """
    SELECT count(*) FROM pg_catalog.pg_class
    WHERE oid IN (to_regclass('oracle.audit'), to_regclass('oracle.epoch'),
        to_regclass('oracle.lost'))
"""
_FAULTS = (
    (_WHOLE, 3, "a table of the audit is gone"),
    (_ENABLED, 2 * len(WATCHED), "a trigger of the audit is gone, or switched off"),
    (
        "SELECT count(*) FROM oracle.epoch",
        1,
        "the database crashed, and emptied the audit, which is unlogged here",
    ),
    (
        "SELECT is_called FROM oracle.lost",
        False,
        "changes went by that the audit could not write down",
    ),
)


class AuditError(Exception):
    """The audit cannot be installed, removed or read; the message is one clear line."""


def install(dsn: str, timeout: float = 30.0) -> None:
    """Install the audit, or leave it alone where this very audit is installed already.

    Another edition of it is replaced, rows and all. Waits up to `timeout` seconds for Airflow's
    transactions to let go of the tables. Raises AuditError, with nothing left behind, also where
    the tables are of no model that is known, and behind a pooler that shares sessions.
    """

    def work(connection: Connection) -> None:
        if _there(connection):
            if intact(connection):
                return
            _lock(connection, "ACCESS EXCLUSIVE")
            connection.execute("DROP SCHEMA oracle CASCADE")
        _create(connection)
        _lock(connection, "SHARE ROW EXCLUSIVE")
        for table, function in _FUNCTIONS.items():
            connection.execute(_TRIGGERS.format(table=table, function=function).encode())

    _refuse_pooler(dsn)
    _patiently(dsn, timeout, work)


def rehearse(dsn: str, timeout: float = 5.0) -> None:
    """Find out whether `install` would work, and leave everything as it was. Raises AuditError.

    Takes no lock on Airflow's tables but that of a reader.
    """

    def work(connection: Connection) -> None:
        with connection.transaction(force_rollback=True):
            if not _there(connection):
                _create(connection)

    _refuse_pooler(dsn)
    _patiently(dsn, timeout, work)


def remove(dsn: str, timeout: float = 30.0) -> None:
    """Remove all that `install` made; nothing happens where there is nothing. Raises AuditError."""
    _patiently(dsn, timeout, _drop)


def remove_on(connection: Connection, timeout: float = 30.0) -> None:
    """Do the same on a connection that is open, for when none can be had any more.

    It is in autocommit mode. Raises AuditError.
    """
    _patiently(connection, timeout, _drop)


def installed(dsn: str) -> bool:
    """Tell whether this edition of the audit is installed and switched on. Raises AuditError."""
    try:
        with psycopg.connect(dsn) as connection:
            return intact(connection)
    except psycopg.errors.UndefinedTable:
        return False  # somebody removes it at this moment
    except psycopg.Error as error:
        raise AuditError(f"the audit cannot be looked for: {first_line(error)}") from error


def intact(connection: Connection) -> bool:
    """Tell the same on an open connection, and that nothing went by it unrecorded."""
    return fault(connection) is None


def fault(connection: Connection) -> str | None:
    """Say why the audit on an open connection is not to be relied on, None when it is."""
    found = connection.execute(_COMMENT).fetchone()
    if found is None:
        return "the audit is not installed in this database"
    try:
        known = model(connection)
    except AuditError as error:
        return str(error)
    if found != (_mark(connection, known),):
        return "it was made for other columns than the tables have now, or is of another edition"
    for query, right, reason in _FAULTS:
        if connection.execute(query.encode()).fetchone() != (right,):
            return reason
    return None


def model(connection: Connection) -> RowModel:
    """Tell what a row of `task_instance` is in this database. Raises AuditError."""
    try:
        return audit_tables.model(connection)
    except audit_tables.UnknownTables as error:
        raise AuditError(str(error)) from error


def _mark(connection: Connection, known: RowModel) -> str:
    """Return what our schema is known by: the script's edition, and the columns it was made for.

    A session that has called the functions keeps their plans, and those fail (as gaps) when a
    column's type has changed; functions that are made anew do not.
    """
    made_of = f"{_script(known)}\n{audit_tables.columns(connection)}"
    return _OURS + hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _script(known: RowModel) -> str:
    return audit_tables.script(_SCRIPT, known)


def _there(connection: Connection) -> bool:
    """Tell whether a schema of ours, of whatever edition, is there; AuditError if not ours."""
    found = connection.execute(_COMMENT).fetchone()
    if found is not None and not str(found[0]).startswith(_OURS):
        raise AuditError(
            "the database has a schema `oracle` that is not ours: rename it, or use another"
        )
    return found is not None


def _create(connection: Connection) -> None:
    """Make the schema and all that is in it, and prove it; AuditError when it does not record."""
    known = model(connection)
    script = _script(known)
    if connection.execute(_REPLICATED).fetchone() == (True,):
        script = script.replace("\nCREATE TABLE ", "\nCREATE UNLOGGED TABLE ")
    connection.execute(script.encode())
    connection.execute(sql.SQL("COMMENT ON SCHEMA oracle IS {}").format(_mark(connection, known)))
    try:
        audit_proof.prove(connection)
    except audit_proof.Unproven as error:
        raise AuditError(str(error)) from error


def _drop(connection: Connection) -> None:
    if _there(connection):
        _lock(connection, "ACCESS EXCLUSIVE")
        connection.execute("DROP SCHEMA oracle CASCADE")


def _lock(connection: Connection, mode: str) -> None:
    for table in WATCHED:
        if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())


def _refuse_pooler(dsn: str) -> None:
    try:
        reason = pooler.shared_sessions(dsn)
    except psycopg.Error as error:
        raise AuditError(
            f"the audit cannot be installed or removed: {first_line(error)}"
        ) from error
    if reason:
        raise AuditError(f"the recorder works through no such connection: {reason}")


@contextmanager
def _transaction(where: str | Connection) -> Iterator[Connection]:
    """Lend a transaction on a connection of its own, where `where` is a dsn, or on that one."""
    if isinstance(where, str):
        with psycopg.connect(
            where, application_name=pooler.APPLICATION_NAME, prepare_threshold=None
        ) as connection:
            yield connection
    else:
        with where.transaction():
            yield where


def _patiently(where: str | Connection, timeout: float, work: Callable[[Connection], None]) -> None:
    """Do `work` in one transaction; again, while others hold the tables, for `timeout` seconds."""

    def once() -> None:
        with _transaction(where) as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.execute("SET LOCAL client_min_messages = warning")
            work(connection)

    try:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(psycopg.errors.LockNotAvailable),
            wait=tenacity.wait_fixed(0.1),
            stop=tenacity.stop_after_delay(timeout),
            reraise=True,
        )(once)
    except psycopg.errors.LockNotAvailable as error:
        raise AuditError(
            f"Airflow's tables stayed locked for {timeout:.0f} s; is a process being held?"
        ) from error
    except psycopg.Error as error:
        raise AuditError(
            f"the audit cannot be installed or removed: {first_line(error)}"
        ) from error
