"""The machinery of rules: put into a database, and on the tables that are watched; taken out again.

How it works, and why it holds where it does, is said in rules.sql beside this file. To hold inside
statements, Airflow's role must be an ordinary one: PostgreSQL exempts superusers and roles with
BYPASSRLS from row-level security.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path

import psycopg
from psycopg import errors, sql

from common.errors import UserError
from common.nearest import did_you_mean
from common.waiting import Deadline
from lab.database import connect, unbound, value

log = logging.getLogger(__name__)

# The advisory locks of rules are (LOCK_CLASS, rule.key); Airflow's own are of the other, one-number
# kind (airflow.utils.db.DBLocks), so the two never meet.
LOCK_CLASS = 57618
OURS = f"""locktype = 'advisory' AND classid = {LOCK_CLASS} AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
HOLDERS = f"SELECT pid, objid FROM pg_locks WHERE {OURS} AND granted AND mode = 'ExclusiveLock'"

# Who installs and who removes go one after the other, also where the first was killed and its
# session is still to commit.
_IN_TURN = f"SELECT pg_advisory_xact_lock({LOCK_CLASS + 2}, 1)"

_SQL = Path(__file__).with_name("rules.sql").read_text()
_NO_RULE = f"""pg_catalog.pg_try_advisory_lock({LOCK_CLASS + 2}, 0)
        AND pg_catalog.pg_advisory_unlock({LOCK_CLASS + 2}, 0)"""
_INSIDE = f"""
CREATE POLICY chaos_all ON {{table}} USING (true) WITH CHECK (true);
CREATE POLICY chaos_pass ON {{table}} AS RESTRICTIVE FOR SELECT
    USING ((SELECT {_NO_RULE} OR chaos.pass({{name}})) IS NOT NULL);
ALTER TABLE {{table}} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
"""
_NOT_INSIDE = """
DROP POLICY chaos_pass ON {table};
DROP POLICY chaos_all ON {table};
ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
"""
_AT_COMMIT = f"""
CREATE CONSTRAINT TRIGGER chaos_written AFTER INSERT OR UPDATE ON {{table}}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NOT ({_NO_RULE}) AND chaos.changes({{name}}, NEW)) EXECUTE FUNCTION chaos.at_commit();
CREATE CONSTRAINT TRIGGER chaos_deleted AFTER DELETE ON {{table}}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NOT ({_NO_RULE}) AND chaos.changes({{name}}, OLD)) EXECUTE FUNCTION chaos.at_commit();
"""
_NOT_AT_COMMIT = "DROP TRIGGER chaos_written ON {table}; DROP TRIGGER chaos_deleted ON {table};"

_OURS = "airflow-ha-chaos "
_MARK = _OURS + hashlib.sha256((_SQL + _INSIDE + _AT_COMMIT).encode()).hexdigest()[:12]

_SCHEMA = """
SELECT quote_literal(quote_ident(n.nspname)) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('dag')
"""
_MARKED = """
SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = 'chaos'
"""
_TABLE = """
SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_class AS dag USING (relnamespace)
WHERE c.oid = to_regclass(quote_ident(%s)) AND c.relkind = 'r' AND dag.oid = to_regclass('dag')
"""
_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped ORDER BY attname
"""
_WATCHED = {
    False: """SELECT c.oid::regclass::text, c.relname FROM pg_policy AS p
        JOIN pg_class AS c ON c.oid = p.polrelid WHERE p.polname = 'chaos_pass'""",
    True: """SELECT c.oid::regclass::text, c.relname FROM pg_trigger AS t
        JOIN pg_class AS c ON c.oid = t.tgrelid WHERE t.tgname = 'chaos_written'""",
}

# A waiting lock makes every later statement on a table wait behind it: so it gives up soon and
# tries again. Who alters a policy takes the table for itself, who makes a trigger from writers.
_LOCK_TIMEOUT = "200ms"
_PAUSE = 0.1
_LOCKS = {False: "ACCESS EXCLUSIVE", True: "SHARE ROW EXCLUSIVE"}

_LOCKERS = """
SELECT DISTINCT coalesce(nullif(a.application_name, ''), 'unnamed') || ' (pid ' || a.pid || ')'
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND l.relation IN (to_regclass(%s), to_regclass('chaos.rule'))
"""


def installed(dsn: str, table: str = "dag", *, commits: bool = False) -> bool:
    """Tell whether this version of the rules stands in the database, and watches a table."""
    with connect(dsn) as connection:
        return _mark(connection) == _MARK and _watches(connection, table, commits=commits)


def install(
    dsn: str,
    table: str = "dag",
    *,
    commits: bool = False,
    row: Collection[str] = (),
    timeout: float = 30.0,
) -> None:
    """Put the rules' machinery into the database, and have it watch the scans of a table.

    With `commits`, the commits after its rows were written instead; `row` are the columns that a
    point tells them by. Processes may be connected and at work. Idempotent. Raises UserError when
    row-level security does not bind the role, when a schema `chaos` of somebody else stands there,
    when Airflow has no such table or that no such column, or when the table stays locked for
    `timeout` seconds.
    """
    with connect(dsn) as connection:
        if _mark(connection) not in (None, _MARK):
            remove(dsn, timeout)
        found = value(connection, _TABLE, table)
        if found is None:
            raise UserError(
                f"Nothing can be held at the table {table!r}: Airflow's database has none.",
                "Name a table of this release, as `dag_run`.",
            )
        _check_columns(connection, table, row)
        if not commits and (reason := unbound(connection, table)):
            raise UserError(
                f"Statements cannot be held or delayed: {reason}.",
                "It takes an ordinary role that owns Airflow's tables, and none of their policies.",
            )
        if _mark(connection) == _MARK and _watches(connection, table, commits=commits):
            return

        def create(connection: psycopg.Connection) -> None:
            if _mark(connection) is None:
                schema = value(connection, _SCHEMA)
                connection.execute(_SQL.replace("SCHEMA_OF_DAG", schema).encode())
                connection.execute(f"COMMENT ON SCHEMA chaos IS '{_MARK}'")
            if not _watches(connection, table, commits=commits):
                _alter(connection, _AT_COMMIT if commits else _INSIDE, found, table)

        _alone(connection, timeout, create, found, _LOCKS[commits])
    log.debug("Rules on %s of %s are installed.", "commits" if commits else "scans", table)


def _check_columns(connection: psycopg.Connection, table: str, row: Collection[str]) -> None:
    """Raise UserError for a column that the table has not: no row of it would ever be met."""
    there = [str(each[0]) for each in connection.execute(_COLUMNS, (table,))]
    for name in row:
        if name not in there:
            raise UserError(
                f"The table {table} has no column {name!r}.",
                did_you_mean(name, there, otherwise=f"It has {', '.join(there)}."),
            )


def remove(dsn: str, timeout: float = 30.0) -> None:
    """Take every trace of the rules out of the database; holds and delays end first of all.

    Idempotent. Raises UserError when a table stays locked for `timeout` seconds.
    """
    with connect(dsn) as connection:
        remove_on(connection, timeout)


def remove_on(connection: psycopg.Connection, timeout: float = 30.0) -> None:
    """Do the same on a connection that is open, in autocommit mode.

    One table after the other, for who wants several for itself at once meets Airflow half-way.
    """
    _alone(connection, timeout, _end_holds)
    if _mark(connection) is None:
        return
    for commits, drop in ((False, _NOT_INSIDE), (True, _NOT_AT_COMMIT)):
        for table, name in connection.execute(_WATCHED[commits].encode()).fetchall():

            def leave(
                connection: psycopg.Connection,
                name: str = name,
                table: str = table,
                drop: str = drop,
                commits: bool = commits,
            ) -> None:
                if _watches(connection, name, commits=commits):
                    _alter(connection, drop, table, name)

            _alone(connection, timeout, leave, table, _LOCKS[commits])
    _alone(connection, timeout, _drop)
    log.debug("Rules are removed.")


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


def _watches(connection: psycopg.Connection, table: str, *, commits: bool) -> bool:
    found = connection.execute(_WATCHED[commits].encode()).fetchall()
    return table in [name for _, name in found]


def _alter(connection: psycopg.Connection, script: str, table: str, name: str) -> None:
    connection.execute(sql.SQL(script).format(table=sql.SQL(table), name=sql.Literal(name)))


def _end_holds(connection: psycopg.Connection) -> None:
    if _mark(connection) is not None:
        connection.execute(
            f"SELECT pg_terminate_backend(pid) FROM ({HOLDERS}) AS holder"
            " WHERE pid <> pg_backend_pid()"
        )


def _drop(connection: psycopg.Connection) -> None:
    if _mark(connection) is not None:
        connection.execute("DROP SCHEMA chaos CASCADE")


def _alone(
    connection: psycopg.Connection,
    timeout: float,
    change: Callable[[psycopg.Connection], None],
    table: str = "",
    mode: str = "",
) -> None:
    """Run `change` in a transaction alone, with a lock on a table, trying until `timeout` s."""
    deadline = Deadline(timeout)
    while True:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute(_IN_TURN)
                if table:
                    connection.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
                change(connection)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if deadline.passed:
                what = f"Table {table}" if table else "The schema `chaos`"
                raise UserError(
                    f"{what} stayed locked for {timeout:.0f} s by {_lockers(connection, table)}.",
                    "End that transaction, or continue the process that is in it.",
                ) from None
        time.sleep(_PAUSE)


def _lockers(connection: psycopg.Connection, table: str) -> str:
    rows = connection.execute(_LOCKERS, (table or "chaos.rule",)).fetchall()
    return ", ".join(str(row[0]) for row in rows) or "nobody now"
