"""The recorder's connections to the metadata database: how they are made, and which are refused.

Through a pooler that hands out server sessions by the transaction (PgBouncer and its kind), a
session's settings, its prepared statements and its locks fall to whoever gets the server session
next, and a process cannot be told by its session. Nothing is left behind by asking whether one is
in between: no setting is made, and nothing is written.

A company sets timeouts of its own, by role or by database. They are for others: here they hold for
no transaction that is begun by `transaction`, and nothing of that outlives it. What a server or a
network that has fallen silent would let wait for hours is over after `SILENCE`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import tenacity
from psycopg.abc import PQGen

RV = TypeVar("RV")

APPLICATION_NAME = "ha-chaos-recorder"

LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What psycopg raises when a connection is lost, or none is to be had."""

Connection = psycopg.Connection[tuple[Any, ...]]

Dsn = Callable[[], str]
"""Returns libpq conninfo as it is now: a password may be another one by the next connection."""

SILENCE = 30.0
"""Seconds that a server may leave one request without any answer; what it is then is lost."""

_UNBOUND = """
    SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout',
        'transaction_timeout')
"""

_ROUNDS = 3
_PATIENCE = 10.0

_HINT = "give the URL of the PostgreSQL server itself"


class StandbyError(psycopg.OperationalError):
    """The server is a standby: nothing can be written there, until it is the primary."""


class _Impatient(psycopg.Connection[tuple[Any, ...]]):
    """Gives a server up that does not answer.

    TCP alone does not tell: a tunnel or a proxy on the way goes on to acknowledge what we send.
    """

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait as psycopg does, no longer than SILENCE."""
        return super().wait(gen, interval, SILENCE if timeout is None else timeout)


def connect(dsn: str, *, autocommit: bool = False, timeout: int = 5) -> Connection:
    """Connect within `timeout` seconds; a host that is gone is noticed in 10 to 20 s.

    It is asked whether it is there as soon as nothing comes from it, oftener than a firewall would
    cut an idle connection. Nothing is set in a session that a pooler may hand on. Raises
    psycopg.Error.
    """
    return _Impatient.connect(
        dsn,
        autocommit=autocommit,
        application_name=APPLICATION_NAME,
        connect_timeout=timeout,
        tcp_user_timeout=10_000,
        keepalives=1,
        keepalives_idle=10,
        keepalives_interval=3,
        keepalives_count=3,
        prepare_threshold=None,
    )


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin a transaction that may write and takes its time, and end it.

    Whatever role and database have for timeouts, and for default_transaction_read_only. Raises
    StandbyError, and psycopg.Error.
    """
    with connection.transaction():
        try:
            connection.execute("SET TRANSACTION READ WRITE")
        except psycopg.errors.FeatureNotSupported as error:
            raise StandbyError(_standby_at(connection)) from error
        connection.execute(_UNBOUND.encode())
        yield


def standby(connection: Connection) -> str | None:
    """Say that the server is a standby, None when it is none. Raises psycopg.Error."""
    found = connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
    return _standby_at(connection) if found == (True,) else None


def _standby_at(connection: Connection) -> str:
    there = connection.info
    return (
        f"the server {there.host}:{there.port} is a standby, where nothing can be written: give "
        "the URL of the primary"
    )


def read_only(connection: Connection) -> str | None:
    """Say why nothing can be written on a connection, None when it can. Raises psycopg.Error."""
    if reason := standby(connection):
        return reason
    if connection.execute("SHOW transaction_read_only").fetchone() != ("on",):
        return None
    return (
        "the database's transactions are read-only (default_transaction_read_only, of the role, "
        "the database or the server): allow them to write, or give the URL of a role that may"
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
