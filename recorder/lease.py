"""A reader's word that it is there: without it the audit's triggers write nothing.

    reader --renew, every few seconds--> oracle.lease: believed until then
                                         oracle.taken: read as far as this
           --claim, once a session-----> an advisory lock: one reader a database

A reader that is gone for good, with its host maybe, leaves triggers behind. They go on for LEASE,
so that a connection that is lost for a while loses no change, and no longer.
"""

import psycopg

from common.waiting import until
from recorder.connection import Connection

LEASE = 600
"""Seconds that a reader is believed to be there after it said so last."""

RENEW_EVERY = 10.0
"""Seconds between two times that it says so."""

LOCK_CLASS = 57622
"""Of our advisory locks, which are of two numbers as Airflow's are not; the second is 1 for who
installs or removes, 2 for who reads."""

_RENEW = f"""
    SELECT pg_catalog.setval('oracle.lease',
            extract(epoch FROM pg_catalog.clock_timestamp())::bigint + {LEASE}),
        pg_catalog.setval('oracle.taken', last_value) FROM oracle.audit_seq_seq
"""

# Whose session was cut off without the server's noticing holds the lock, but renews no more.
_READER = f"""
    SELECT l.pid, coalesce(host(a.client_addr), 'the server itself'),
        a.backend_start::timestamptz(0)::text
    FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.objid = 2 AND l.objsubid = 2
        AND l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND l.database =
            (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""
_RENEWED = f"""
    SELECT last_value - {LEASE} > extract(epoch FROM pg_catalog.clock_timestamp()) - 60
    FROM oracle.lease
"""
_CLAIM = f"SELECT pg_catalog.pg_try_advisory_lock({LOCK_CLASS}, 2)"

_ENDING = 3.0
"""Seconds; a session whose client has gone is there for a moment longer."""


def renew(connection: Connection) -> None:
    """Say that all was read that was committed until now, and that the reader lives.

    In a transaction that may write. Raises psycopg.Error.
    """
    connection.execute(_RENEW.encode())


def give_up(connection: Connection) -> None:
    """Have the triggers write nothing from now on, in a transaction that may write."""
    connection.execute("SELECT pg_catalog.setval('oracle.lease', 1)")


def claim(connection: Connection, former: int = 0) -> str | None:
    """Take the place of the database's reader; return why that is not to be had, None when it is.

    `former` is the pid of our own session before, which the server may not know to be cut off. It
    is ended, as is anybody's that has renewed nothing for a minute: its client is gone.
    """

    def ours() -> bool:
        if connection.execute(_CLAIM.encode()).fetchone() == (True,):
            return True
        _end_cut_off(connection, former)
        return False

    return None if until(ours, _ENDING) else _told(connection) or "another reader came and went"


def other_reader(connection: Connection) -> str | None:
    """Say who else records in the database, None when nobody does. Raises psycopg.Error.

    One whose client is gone is ended, as `claim` does.
    """

    def alone() -> bool:
        _end_cut_off(connection)
        return _told(connection) is None

    return None if until(alone, _ENDING) else _told(connection)


def _told(connection: Connection) -> str | None:
    found = connection.execute(_READER.encode()).fetchone()
    if found is None:
        return None
    pid, host, since = found
    return (
        f"another session records in this database, from {host} since {since} (pid {pid}): wait "
        "for its end, or end it"
    )


def _end_cut_off(connection: Connection, former: int = 0) -> None:
    """End a reader's session that has its place and says nothing any more, or was our own."""
    found = connection.execute(_READER.encode()).fetchone()
    if found and (found[0] == former or not _is_renewed(connection)):
        connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (found[0],))


def _is_renewed(connection: Connection) -> bool:
    try:
        return connection.execute(_RENEWED.encode()).fetchone() == (True,)
    except psycopg.errors.UndefinedTable:
        return False
