"""Puts the audit into Airflow's metadata database and takes it out again, without a trace.

The owner of Airflow's tables is enough for it; no superuser is needed, so it works on a managed
PostgreSQL too. What is installed stands in `audit.sql`. Before that, the tables' columns are looked
at, and the functions are proven; what is refused leaves nothing behind.
"""

import hashlib
from pathlib import Path

from psycopg import sql

from oracle.events import RowModel
from recorder import lease, others, tables
from recorder.connection import Connection, connect, read_only, shared_sessions
from recorder.locks import in_a_line, lock, patiently
from recorder.tables import WATCHED
from recorder.tables import AuditError as AuditError

_SCRIPT = Path(__file__).with_name("audit.sql").read_text()
_OURS = "ha-chaos audit "
"""How the comment of our schema begins, in every edition; without it the schema is not ours."""

_TRIGGERS = """
    CREATE TRIGGER oracle_changed AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION oracle.record_{kind}();
    CREATE TRIGGER oracle_emptied AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION oracle.record_emptied();
"""
# Also in a session whose session_replication_role is `replica`, as that of a tool which loads data
# may be. What such a tool switches off and on again is then no longer as it was. The owner may.
_ALWAYS = """
    ALTER TABLE {table} ENABLE ALWAYS TRIGGER oracle_changed, ENABLE ALWAYS TRIGGER oracle_emptied;
"""
_OWNS = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)"
_KINDS = {"dag_run": "run", "task_instance": "ti"}

_UNLOGGED_SEQUENCES = 150000
"""The version of PostgreSQL that has them; where it has not, no stream of changes tells of one."""

_COMMENT = """
    SELECT pg_catalog.obj_description(oid, 'pg_namespace') FROM pg_catalog.pg_namespace
    WHERE nspname = 'oracle'
"""
_ENABLED = """
    SELECT count(*) FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
        JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    WHERE p.pronamespace = to_regnamespace('oracle')
        AND t.tgenabled::text = CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN 'A' ELSE 'O' END
        AND t.tgrelid IN (to_regclass('dag_run'), to_regclass('task_instance'))
"""
_WHOLE = """
    SELECT count(*) FROM pg_catalog.pg_class
    WHERE oid IN (to_regclass('oracle.audit'), to_regclass('oracle.epoch'),
        to_regclass('oracle.lost'), to_regclass('oracle.lease'), to_regclass('oracle.taken'),
        to_regclass('oracle.watched'))
"""
_UNWATCHED = """
    SELECT count(*) FROM oracle.watched AS w WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = to_regclass(w.name)
            AND t.tgfoid = to_regprocedure('oracle.record_row()') AND t.tgenabled <> 'D'
    )
"""
_FAULTS = (
    (_WHOLE, 6, "a table of the audit is gone"),
    (_ENABLED, 2 * len(WATCHED), "a trigger of the audit is gone, or switched off"),
    (_UNWATCHED, 0, "a trigger on another table is gone, or switched off"),
    (
        "SELECT count(*) FROM oracle.epoch",
        1,
        "the database crashed, and emptied the audit, which is unlogged here",
    ),
    (
        "SELECT is_called FROM oracle.lost",
        False,
        "changes went by unwritten: they could not be written, no reader was there for "
        f"{lease.LEASE} s, or too much was unread",
    ),
)

# UNLOGGED, since a logged table without a key may not be updated under a publication of all tables.
_PROOF = """
    CREATE UNLOGGED TABLE oracle.proof AS SELECT * FROM {table} WITH NO DATA;
    CREATE TRIGGER proof AFTER INSERT OR UPDATE OR DELETE ON oracle.proof
    FOR EACH ROW EXECUTE FUNCTION oracle.record_{kind}();
"""
_PROVED_BY = {
    "dag_run": """
        INSERT INTO oracle.proof (dag_id, run_id, state) VALUES ('d', 'r', 'queued');
        UPDATE oracle.proof SET state = 'running';
        DELETE FROM oracle.proof;
    """,
    "task_instance": """
        INSERT INTO oracle.proof (id, dag_id, run_id, task_id, state, try_number, max_tries)
        VALUES ('00000000-0000-0000-0000-000000000001', 'd', 'r', 't', 'queued', 1, 2);
        UPDATE oracle.proof SET state = 'running', external_executor_id = 'x';
        DELETE FROM oracle.proof;
    """,
}
_WRITTEN = """
    SELECT kind, body ->> 'reason', body ->> 'op', body #>> '{old,state}', body #>> '{new,state}'
    FROM oracle.audit ORDER BY seq
"""
_STATES = [("insert", None, "queued"), ("update", "queued", "running"), ("delete", "running", None)]


def install(dsn: str, timeout: float = 30.0, *, survives: bool = False) -> None:
    """Install the audit, or leave it alone where this very audit is installed already.

    Another edition of it is replaced, rows and all. Waits up to `timeout` seconds for Airflow's
    transactions to let go of the tables. With `survives` what was not read yet survives a crash of
    the server; but its rows are in the WAL then, and with that in what subscribers are sent, so it
    is for a database of our own. Raises AuditError, with nothing left behind, also where the tables
    are of no model that is known, behind a pooler that shares sessions, on a standby, and where
    somebody else's recorder is at work.
    """

    def work(connection: Connection) -> None:
        _lock_audit(connection)
        if _there(connection):
            if fault(connection) is None and _survives(connection) is survives:
                lease.renew(connection)
                return
            lock(connection, "ACCESS EXCLUSIVE")
            connection.execute("DROP SCHEMA oracle CASCADE")
        _create(connection, survives=survives)
        lock(connection, "SHARE ROW EXCLUSIVE")
        for table, kind in _KINDS.items():
            connection.execute(_TRIGGERS.format(table=table, kind=kind).encode())
            if connection.execute(_OWNS, (table,)).fetchone() == (True,):
                connection.execute(_ALWAYS.format(table=table).encode())

    _refuse(dsn)
    patiently(dsn, timeout, work)
    others.watch(dsn, timeout)


def rehearse(dsn: str, timeout: float = 5.0) -> None:
    """Find out whether `install` would work, and leave everything as it was. Raises AuditError.

    Takes no lock on Airflow's tables but that of a reader.
    """

    def work(connection: Connection) -> None:
        with connection.transaction(force_rollback=True):
            if not _there(connection):
                _create(connection, survives=False)

    _refuse(dsn)
    patiently(dsn, timeout, work)


def remove(where: str | Connection, timeout: float = 30.0) -> None:
    """Remove all that `install` made; nothing happens where there is nothing. Raises AuditError.

    `where` is a dsn or, for when no connection can be had any more, one that is open, in autocommit
    mode.
    """
    others.unwatch(where, timeout)
    patiently(where, timeout, _drop)


def fault(connection: Connection) -> str | None:
    """Say why the audit on an open connection is not to be relied on, None when it is."""
    found = connection.execute(_COMMENT).fetchone()
    if found is None:
        return "the audit is not installed in this database"
    try:
        known = tables.model(connection)
    except AuditError as error:
        return str(error)
    if found != (_mark(connection, known),):
        return "it was made for other columns than the tables have now, or is of another edition"
    for query, right, reason in _FAULTS:
        if connection.execute(query.encode()).fetchone() != (right,):
            return reason
    return None


def _mark(connection: Connection, known: RowModel) -> str:
    """Return what our schema is known by: the script's edition, and the columns it was made for.

    A session that has called the functions keeps their plans, and those fail (as gaps) when a
    column's type has changed; functions that are made anew do not.
    """
    made_of = f"{tables.script(_SCRIPT, known)}\n{_TRIGGERS}{_ALWAYS}\n{tables.columns(connection)}"
    return _OURS + hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _there(connection: Connection) -> bool:
    """Tell whether a schema of ours, of whatever edition, is there; AuditError if not ours."""
    found = connection.execute(_COMMENT).fetchone()
    if found is not None and not str(found[0]).startswith(_OURS):
        raise AuditError(
            "the database has a schema `oracle` that is not ours: rename it, or use another"
        )
    return found is not None


def _create(connection: Connection, *, survives: bool) -> None:
    """Make the schema and all that is in it, and prove it; AuditError when it does not record.

    That it can be taken out again is tried as well: an event trigger may forbid that alone.
    """
    known = tables.model(connection)
    script = tables.script(_SCRIPT, known)
    if not survives:
        script = script.replace("\nCREATE TABLE ", "\nCREATE UNLOGGED TABLE ")
        if connection.info.server_version >= _UNLOGGED_SEQUENCES:
            script = script.replace("\nCREATE SEQUENCE ", "\nCREATE UNLOGGED SEQUENCE ")
    connection.execute(script.encode())
    connection.execute(sql.SQL("COMMENT ON SCHEMA oracle IS {}").format(_mark(connection, known)))
    lease.renew(connection)
    _prove(connection)
    with connection.transaction(force_rollback=True):
        connection.execute("DROP SCHEMA oracle CASCADE")


def _survives(connection: Connection) -> bool:
    found = connection.execute(
        "SELECT relpersistence = 'p' FROM pg_catalog.pg_class WHERE oid = 'oracle.audit'::regclass"
    ).fetchone()
    return found == (True,)


def _prove(connection: Connection) -> None:
    """Try the audit's functions where it is to stand, before anything of Airflow's depends on it.

    They are called by an insert, an update and a delete in tables that have the very columns of
    Airflow's, and nothing else of theirs: no keys to satisfy, no listeners of somebody's to wake,
    no row of Airflow's touched, no lock on its tables but that of a reader. A savepoint takes it
    all back. Raises AuditError, or psycopg.Error with the server's reason.
    """
    for table, kind in _KINDS.items():
        with connection.transaction(force_rollback=True):
            connection.execute(_PROOF.format(table=table, kind=kind).encode())
            connection.execute(_PROVED_BY[table].encode())
            written = connection.execute(_WRITTEN).fetchall()
        states = [tuple(of) for each, _, *of in written if each == kind]
        if states != _STATES:
            found = f"{len(states)} of {len(_STATES)} changes were written"
            reason = next((gap for each, gap, *_ in written if each == "gap"), found)
            raise AuditError(f"the audit of {table} does not work here: {reason}")


def _drop(connection: Connection) -> None:
    _lock_audit(connection)
    if _there(connection):
        lock(connection, "ACCESS EXCLUSIVE")
        connection.execute("DROP SCHEMA oracle CASCADE")


def _lock_audit(connection: Connection) -> None:
    """Install and remove one after the other.

    Who removes what somebody left that was killed waits for the end of what that one's session is
    still about to commit.
    """
    connection.execute(f"SELECT pg_catalog.pg_advisory_xact_lock({lease.LOCK_CLASS}, 1)".encode())


def _refuse(dsn: str) -> None:
    """Raise AuditError where nothing can be installed, and where somebody else's recorder is."""
    with in_a_line():
        with connect(dsn, autocommit=True, timeout=10) as connection:
            reason = read_only(connection) or lease.other_reader(connection)
        if reason := reason or shared_sessions(dsn):
            raise AuditError(reason)
