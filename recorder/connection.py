"""Recognises a pooler that hands out server sessions by the transaction (PgBouncer and its kind).

Through one, a session's settings, its prepared statements and its locks fall to whoever gets the
server session next, and a process cannot be told by its session. Nothing is left behind by asking:
no setting is made, and nothing is written.
"""

import threading

import psycopg

APPLICATION_NAME = "ha-chaos-recorder"

_ROUNDS = 3
_PATIENCE = 10.0

_HINT = "give the URL of the PostgreSQL server itself"


def shared_sessions(dsn: str) -> str | None:
    """Say why the sessions of `dsn` are not one's own, None when they are. Raises psycopg.Error.

    One connection idles between transactions while another is in one. A server gives each its own
    backend for good. A transaction pooler gives the idle one's backend to the other (the last one
    used comes first), or, taking them in turn, gives the idle one another backend afterwards.
    """
    with _connect(dsn) as idle, _connect(dsn) as busy:
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


def _met(idle: psycopg.Connection, busy: psycopg.Connection) -> bool:
    before = _backend(idle)
    with busy.transaction():
        return _backend(busy) == before or _backend(idle) != before


def _backend(connection: psycopg.Connection) -> object:
    return connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()


def _connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(
        dsn,
        application_name=APPLICATION_NAME,
        autocommit=True,
        connect_timeout=10,
        prepare_threshold=None,
    )
