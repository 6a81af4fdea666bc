"""A lab's metadata database, as whoever disturbs it connects to it, and whether it can be held."""

from typing import Any

import psycopg
import requests
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.errors import UserError
from common.redaction import first_line

_CONTROL = 5.0
_KEEPALIVES = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=5"

# Row-level security of ours is none of the table's own: who installed it asked before.
_UNBOUND = """
SELECT CASE
    WHEN r.rolsuper OR r.rolbypassrls THEN 'the database role ' || r.rolname
        || ' is exempt from row-level security (superuser or BYPASSRLS)'
    WHEN c.oid IS NULL THEN 'the database has no table ' || t.name
    WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN 'the database role ' || r.rolname
        || ' does not own the table ' || t.name
    WHEN c.relrowsecurity AND NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'chaos_pass'
    ) THEN 'the table ' || t.name || ' has row-level security of its own'
END
FROM pg_roles AS r CROSS JOIN (SELECT %s::text) AS t (name)
    LEFT JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(t.name))
WHERE r.rolname = current_user
"""


def ask_proxy(control: str, method: str, path: str, body: Any = None) -> requests.Response:
    """Return what the database proxy with its control at this URL answers (`lab.dbproxy`).

    Raises UserError where it does not answer.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{control}/{path}", json=body, timeout=_CONTROL)
    except requests.RequestException as error:
        raise UserError(
            f"The database proxy does not answer at {control}.",
            "Look at its log; the lab may have ended.",
        ) from error


def carry_freely(control: str) -> None:
    """Have the database proxy forget all rules, whoever set them: they do not end with who did."""
    if not (answer := ask_proxy(control, "DELETE", "rules")).ok:
        raise UserError(f"The database proxy keeps its rules: {answer.json()['error']}.")


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
        raise UserError(
            f"The metadata database takes no connection: {first_line(error)}",
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


def answers(dsn: str) -> bool:
    """Tell whether the database takes a connection, within 3 s."""
    try:
        psycopg.connect(dsn, connect_timeout=3).close()
    except psycopg.Error:
        return False
    return True


def unbound(connection: psycopg.Connection, table: str = "dag") -> str | None:
    """Say why row-level security would not hold this role's scans of a table, None when it will."""
    reason: str | None = value(connection, _UNBOUND, table)
    return reason


def value(connection: psycopg.Connection, query: str, *parameters: object) -> Any:
    """Return the one value that a query asks for, None where it finds no row."""
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
