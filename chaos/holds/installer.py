"""The machinery of rules inside statements: put into a database, taken out again.

How it works, and why it holds between snapshot and row lock, is told in statement.sql beside this
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
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.errors import UserError

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

# A waiting ACCESS EXCLUSIVE lock makes every later statement on dag wait behind it: so it gives up
# soon and tries again.
_LOCK_TIMEOUT = "200ms"
_PAUSE = 0.1

_KEEPALIVES = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=5"

_UNBOUND = """
SELECT CASE
    WHEN r.rolsuper OR r.rolbypassrls THEN 'the database role ' || r.rolname
        || ' is exempt from row-level security (superuser or BYPASSRLS)'
    WHEN c.oid IS NULL THEN 'the database has no table public.dag'
    WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN 'the database role ' || r.rolname
        || ' does not own the table public.dag'
    WHEN c.relrowsecurity THEN 'the table public.dag has row-level security of its own'
END
FROM pg_roles AS r LEFT JOIN pg_class AS c ON c.oid = to_regclass('public.dag')
WHERE r.rolname = current_user
"""

_LOCKERS = """
SELECT DISTINCT coalesce(nullif(a.application_name, ''), 'unnamed') || ' (pid ' || a.pid || ')'
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND l.relation IN (to_regclass('public.dag'), to_regclass('chaos.rule'))
"""


def connect(dsn: str) -> psycopg.Connection:
    """Connect as a controller; the server notices within 10 s when our host vanishes.

    No setting is made in the session, which a pooler may hand on: they come with the connection.
    A pooler that does not take them gets none; its links to the server are its own.
    Raises UserError when the database does not take a connection within 10 s.
    """
    options = f"{conninfo_to_dict(dsn).get('options') or ''} {_KEEPALIVES}".strip()
    try:
        try:
            return _connected(make_conninfo(dsn, options=options))
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):
                raise
            return _connected(dsn)
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or ["it gave no reason"])[-1]
        raise UserError(
            f"The metadata database takes no connection: {reason}",
            "Look at the database's log, and whether the lab is up.",
        ) from error


def _connected(dsn: str) -> psycopg.Connection:
    return psycopg.connect(
        dsn,
        autocommit=True,
        application_name="chaos",
        connect_timeout=10,
        prepare_threshold=None,
    )


def installed(dsn: str) -> bool:
    """Tell whether this version of the rules stands in the database."""
    with connect(dsn) as connection:
        return _mark(connection) == _MARK


def unavailable(dsn: str) -> str | None:
    """Return why rules would not bind the role of `dsn`, None when they will."""
    with connect(dsn) as connection:
        return None if _mark(connection) else _unbound(connection)


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
        reason = _unbound(connection)
        if reason and _mark(connection) is None:
            raise UserError(
                f"Statements cannot be held or delayed: {reason}.",
                "It takes an ordinary role that owns Airflow's tables, and none of their policies.",
            )
        _locking_dag(connection, timeout, _create)
    log.debug("Rules inside statements are installed.")


def remove(dsn: str, timeout: float = 30.0) -> None:
    """Take every trace of the rules out of the database: gates open, delays end, first of all.

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
    row = connection.execute(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'chaos'"
    ).fetchone()
    if row is None:
        return None
    if not str(row[0]).startswith(_OURS):
        raise NotOurs(
            "The database has a schema `chaos` that is not ours.",
            "Rename it, or use another database.",
        )
    return str(row[0])


def _unbound(connection: psycopg.Connection) -> str | None:
    row = connection.execute(_UNBOUND).fetchone()
    return str(row[0]) if row and row[0] else None


def _create(connection: psycopg.Connection) -> None:
    if _mark(connection) is None:
        connection.execute(_SQL)
        connection.execute(f"COMMENT ON SCHEMA chaos IS '{_MARK}'")


def _drop(connection: psycopg.Connection) -> None:
    if _mark(connection) is not None:
        connection.execute("DROP POLICY IF EXISTS chaos_pass ON public.dag")
        connection.execute("DROP POLICY IF EXISTS chaos_all ON public.dag")
        connection.execute("ALTER TABLE public.dag NO FORCE ROW LEVEL SECURITY")
        connection.execute("ALTER TABLE public.dag DISABLE ROW LEVEL SECURITY")
        connection.execute("DROP SCHEMA chaos CASCADE")


def _locking_dag(
    connection: psycopg.Connection, timeout: float, change: Callable[[psycopg.Connection], None]
) -> None:
    """Run `change` in a transaction that has table dag for itself, trying until `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute("LOCK TABLE public.dag IN ACCESS EXCLUSIVE MODE")
                change(connection)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if time.monotonic() >= deadline:
                raise UserError(
                    f"Table dag stayed locked for {timeout:.0f} s by {_lockers(connection)}.",
                    "End that transaction, or continue the process that is in it.",
                ) from None
        time.sleep(_PAUSE)


def _lockers(connection: psycopg.Connection) -> str:
    rows = connection.execute(_LOCKERS).fetchall()
    return ", ".join(str(row[0]) for row in rows) or "nobody now"
