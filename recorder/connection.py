"""The recorder's connections to the metadata database: how they are made, and which are refused.

Through a pooler that hands out server sessions by the transaction (PgBouncer and its kind), a
session's settings, its prepared statements and its locks fall to whoever gets the server session
next, and a process cannot be told by its session. Nothing is left behind by asking whether one is
in between: no setting is made, and nothing is written.
"""

import threading
from typing import Any

import psycopg
import tenacity

APPLICATION_NAME = "ha-chaos-recorder"

LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What psycopg raises when a connection is lost, or none is to be had."""

Connection = psycopg.Connection[tuple[Any, ...]]

_ROUNDS = 3
_PATIENCE = 10.0

_HINT = "give the URL of the PostgreSQL server itself"


def connect(dsn: str, *, autocommit: bool = False, timeout: int = 5) -> Connection:
    """Connect within `timeout` seconds; a server that falls silent is noticed in 10 s.

    Nothing is set in a session that a pooler may hand on. Raises psycopg.Error.
    """
    return psycopg.connect(
        dsn,
        autocommit=autocommit,
        application_name=APPLICATION_NAME,
        connect_timeout=timeout,
        tcp_user_timeout=10_000,
        prepare_threshold=None,
    )


def while_lost(**more: Any) -> tenacity.Retrying:
    """Return what does something again while the connection is lost; `more` says how long."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(LOST),
        wait=tenacity.wait_exponential(multiplier=0.05, max=0.5),
        reraise=True,
        **more,
    )


def shared_sessions(dsn: str) -> str | None:
    """Say why the sessions of `dsn` are not one's own, None when they are. Raises psycopg.Error.

    One connection idles between transactions while another is in one. A server gives each its own
    backend for good. A transaction pooler gives the idle one's backend to the other (the last one
    used comes first), or, taking them in turn, gives the idle one another backend afterwards.
    """
    with (
        connect(dsn, autocommit=True, timeout=10) as idle,
        connect(dsn, autocommit=True, timeout=10) as busy,
    ):
        timer = threading.Timer(_PATIENCE, busy.cancel)
        timer.start()
        try:
            shared = any(_met(idle, busy) for _ in range(_ROUNDS))
        except psycopg.errors.ProtocolViolation as error:
            return f"a pooler is in between, which says: {error}; {_HINT}"
        except psycopg.errors.QueryCanceled:
            return f"a pooler is in between, and has no second session to give: {_HINT}"
        finally:
            timer.cancel()
    if not shared:
        return None
    return f"a pooler is in between that shares its sessions by the transaction: {_HINT}"


def _met(idle: Connection, busy: Connection) -> bool:
    before = _backend(idle)
    with busy.transaction():
        return _backend(busy) == before or _backend(idle) != before


def _backend(connection: Connection) -> object:
    return connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
