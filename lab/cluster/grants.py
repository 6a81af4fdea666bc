"""Whether our role may do in a database what the recorder has to, and if not, by which GRANT.

It takes no owner: to make a schema, and to read, lock and put triggers on two tables.
"""

from collections.abc import Iterator
from typing import Any

import psycopg

from common.errors import UserError

_WATCHED = ("dag_run", "task_instance")
_READ = ("dag", "job")
_MAINTAIN_SINCE = 170_000

_ROLE = """
    SELECT current_user::text, quote_ident(current_user), quote_ident(current_database()),
        has_database_privilege(current_database(), 'CREATE'),
        current_setting('server_version_num')::integer
"""
# LOCK TABLE, in the modes that it takes, wants one of the last three; MAINTAIN is new in 17.
_TABLE = """
    SELECT c.oid::regclass::text,
        has_table_privilege(c.oid, 'SELECT'),
        has_table_privilege(c.oid, 'TRIGGER'),
        has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE' || %s)
    FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(%s)
"""
_ELSEWHERE = """
    SELECT n.nspname::text, quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE')
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = 'task_instance' AND c.relkind IN ('r', 'p')
        AND n.nspname NOT LIKE 'pg\\_temp%' ORDER BY n.nspname
"""


def require_grants(connection: "psycopg.Connection[Any]", where: str) -> str:
    """Return our role; UserError with the GRANT to run where it may not what it has to.

    Also where Airflow's tables are not there, or not where a session of ours looks for them.
    """
    row = connection.execute(_ROLE).fetchone()
    assert row is not None
    role, quoted, database, creates, version = row
    if connection.execute("SELECT to_regclass('task_instance') IS NULL").fetchone() == (True,):
        raise _not_found(connection, where, role, quoted)
    missing = [] if creates else [f"GRANT CREATE ON DATABASE {database} TO {quoted};"]
    missing += _of_tables(connection, quoted, version)
    if missing:
        raise UserError(
            f"The recorder cannot be installed in {where}: the role {role} has not the rights. "
            f"Have the owner or a superuser run there: {' '.join(missing)}",
            "Or give the URL of another role in HA_CHAOS_DATABASE_URL.",
        )
    return str(role)


def _of_tables(connection: "psycopg.Connection[Any]", role: str, version: int) -> Iterator[str]:
    maintains = version >= _MAINTAIN_SINCE
    for table in (*_WATCHED, *_READ):
        row = connection.execute(_TABLE, (", MAINTAIN" if maintains else "", table)).fetchone()
        if row is None:
            continue
        name, reads, triggers, locks = row
        wanted = {"SELECT": reads}
        if table in _WATCHED:
            wanted |= {"TRIGGER": triggers, "MAINTAIN" if maintains else "UPDATE": locks}
        if lacking := [right for right, has in wanted.items() if not has]:
            yield f"GRANT {', '.join(lacking)} ON {name} TO {role};"


def _not_found(
    connection: "psycopg.Connection[Any]", where: str, role: str, quoted: str
) -> UserError:
    schemas = connection.execute(_ELSEWHERE).fetchall()
    if not schemas:
        return UserError(
            f"The database {where} has no table task_instance.", "Is it Airflow's, and migrated?"
        )
    if closed := [name for _, name, may in schemas if not may]:
        return UserError(
            f"The role {role} may not look into the schema of Airflow's tables in {where}. Have "
            f"its owner run there: GRANT USAGE ON SCHEMA {closed[0]} TO {quoted};"
        )
    found = ", ".join(name for name, _, _ in schemas)
    return UserError(
        f"Airflow's tables in {where} are in the schema {found}, where a session of {role} does "
        "not look for them.",
        "Set `[database] sql_alchemy_schema` in the release; or give HA_CHAOS_DATABASE_URL with "
        "?options=-csearch_path%3DSCHEMA.",
    )
