"""The machinery of rules inside statements: put into a database, taken out again.

How it works, and why it holds between snapshot and row lock, is said in statement.sql beside this
file. Airflow's role must be an ordinary one: PostgreSQL exempts superusers and roles with
BYPASSRLS from row-level security.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import errors

from common.errors import UserError
from common.waiting import Deadline
from lab.database import connect, unbound, value

log = logging.getLogger(__name__)

# The advisory locks of rules are (LOCK_CLASS, rule.key); Airflow's own are of the other, one-number
# kind (airflow.utils.db.DBLocks), so the two never meet.
LOCK_CLASS = 57618
OURS = f"""locktype = 'advisory' AND classid = {LOCK_CLASS} AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
HOLDERS = f"SELECT pid, objid FROM pg_locks WHERE {OURS} AND granted AND mode = 'ExclusiveLock'"

_SQL = Path(__file__).with_name("statement.sql").read_text()
_OURS = "airflow-ha-chaos "
_MARK = _OURS + hashlib.sha256(_SQL.encode()).hexdigest()[:12]

_SCHEMA = """
SELECT quote_literal(quote_ident(n.nspname)) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('dag')
"""
_MARKED = """
SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = 'chaos'
"""

# A waiting ACCESS EXCLUSIVE lock makes every later statement on dag wait behind it: so it gives up
# soon and tries again.
_LOCK_TIMEOUT = "200ms"
_PAUSE = 0.1

_LOCKERS = """
SELECT DISTINCT coalesce(nullif(a.application_name, ''), 'unnamed') || ' (pid ' || a.pid || ')'
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND l.relation IN (to_regclass('dag'), to_regclass('chaos.rule'))
"""


def installed(dsn: str) -> bool:
    """Tell whether this version of the rules stands in the database."""
    with connect(dsn) as connection:
        return _mark(connection) == _MARK


def install(dsn: str, timeout: float = 30.0) -> None:
    """Put the rules' machinery into the database; processes may be connected and at work.

    Idempotent. Raises UserError when row-level security does not bind the role, when a schema
    `chaos` of somebody else stands there, or when table dag stays locked for `timeout` seconds.
    """
    with connect(dsn) as connection:
        if (mark := _mark(connection)) == _MARK:
            return
        if mark is not None:
            remove(dsn, timeout)
        reason = unbound(connection)
        if reason and _mark(connection) is None:
            raise UserError(
                f"Statements cannot be held or delayed: {reason}.",
                "It takes an ordinary role that owns Airflow's tables, and none of their policies.",
            )
        _locking_dag(connection, timeout, _create)
    log.debug("Rules inside statements are installed.")


def remove(dsn: str, timeout: float = 30.0) -> None:
    """Take every trace of the rules out of the database; holds and delays end first of all.

    Idempotent. Raises UserError when table dag stays locked for `timeout` seconds.
    """
    with connect(dsn) as connection:
        remove_on(connection, timeout)


def remove_on(connection: psycopg.Connection, timeout: float = 30.0) -> None:
    """Do the same on a connection that is open, in autocommit mode."""
    if _mark(connection) is None:
        return
    connection.execute(
        f"SELECT pg_terminate_backend(pid) FROM ({HOLDERS}) AS holder WHERE pid <> pg_backend_pid()"
    )
    _locking_dag(connection, timeout, _drop)
    log.debug("Rules inside statements are removed.")


class NotOurs(UserError):
    """A schema `chaos` of somebody else stands in the database: nothing of ours does."""


def _mark(connection: psycopg.Connection) -> str | None:
    """Return the mark of our schema, None when there is none; NotOurs if it is not ours."""
    mark: str | None = value(connection, _MARKED)
    if mark is not None and not mark.startswith(_OURS):
        raise NotOurs(
            "The database has a schema `chaos` that is not ours.",
            "Rename it, or use another database.",
        )
    return mark


def _create(connection: psycopg.Connection) -> None:
    if _mark(connection) is None:
        schema = value(connection, _SCHEMA)
        connection.execute(_SQL.replace("SCHEMA_OF_DAG", schema).encode())
        connection.execute(f"COMMENT ON SCHEMA chaos IS '{_MARK}'")


def _drop(connection: psycopg.Connection) -> None:
    if _mark(connection) is not None:
        connection.execute("DROP POLICY IF EXISTS chaos_pass ON dag")
        connection.execute("DROP POLICY IF EXISTS chaos_all ON dag")
        connection.execute("ALTER TABLE dag NO FORCE ROW LEVEL SECURITY")
        connection.execute("ALTER TABLE dag DISABLE ROW LEVEL SECURITY")
        connection.execute("DROP SCHEMA chaos CASCADE")


def _locking_dag(
    connection: psycopg.Connection, timeout: float, change: Callable[[psycopg.Connection], None]
) -> None:
    """Run `change` in a transaction that has table dag for itself, trying until `timeout` s."""
    deadline = Deadline(timeout)
    while True:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute("LOCK TABLE dag IN ACCESS EXCLUSIVE MODE")
                change(connection)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if deadline.passed:
                raise UserError(
                    f"Table dag stayed locked for {timeout:.0f} s by {_lockers(connection)}.",
                    "End that transaction, or continue the process that is in it.",
                ) from None
        time.sleep(_PAUSE)


def _lockers(connection: psycopg.Connection) -> str:
    rows = connection.execute(_LOCKERS).fetchall()
    return ", ".join(str(row[0]) for row in rows) or "nobody now"
