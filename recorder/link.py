"""The reader's session in the database: made, lost, made again, and with whom it is.

A session may be lost at any time, and the next one needs another password, or ends up at another
server. Neither loses a change by itself: the audit keeps them (`lease.LEASE` says how long). But a
server that has taken another one's place may lack what that one had committed last, and what
nobody has read yet of a table that is not logged.
"""

import os
import socket
import threading
from contextlib import suppress
from typing import NamedTuple

import psycopg
import tenacity

from common.redaction import first_line
from recorder import audit, lease
from recorder.connection import LOST, Connection, Dsn, StandbyError, connect, standby, while_lost
from recorder.stream import DatabaseClock, Stream

# A managed PostgreSQL may not have the first two.
_CLUSTER = """
    SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system())::text,
        left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8)
"""
_STARTED = "SELECT pg_catalog.pg_postmaster_start_time()::text"


class Server(NamedTuple):
    """With whom a session is: the database cluster, its timeline, and since when it runs."""

    cluster: str
    timeline: str
    started: str


class Link:
    """Makes the sessions of one reader, one after the other; `dsn` is asked anew for each."""

    def __init__(self, dsn: Dsn, clock: DatabaseClock, stream: Stream) -> None:
        self._dsn = dsn
        self._clock = clock
        self._stream = stream
        self._server: Server | None = None
        self._pid = 0
        self._gaps: set[str] = set()
        self.connection: Connection | None = None
        self.tracked = False
        """Whether the server keeps the times of commits."""
        self.moved = False
        """Whether the server is another than before; for who reads to take back."""
        self.trouble = ""
        """Why there is no session, and since when; empty while there is one."""

    def open(self) -> Connection:
        """Connect; at another server than before, that is a gap. Raises psycopg.Error.

        With nobody who could be written to (StandbyError), there is no session.
        """
        self.close()
        connection = connect(self._dsn(), autocommit=True)
        try:
            self._enter(connection)
        except BaseException:
            connection.close()
            raise
        self.connection = connection
        self.trouble = ""
        return connection

    def _enter(self, connection: Connection) -> None:
        if reason := standby(connection):
            raise StandbyError(reason)
        self._clock.measure(connection)
        server = _server(connection)
        self.tracked = connection.execute("SHOW track_commit_timestamp").fetchone() == ("on",)
        if self._server is not None:
            self._compare(self._server, server)
            self._check(connection)
        elif not self.tracked:
            self._stream.note("commit times are not tracked here; row times stand in for them")
        if reason := lease.claim(connection, self._pid):
            self.gap(reason)
        self._server, self._pid = server, connection.info.backend_pid

    def _compare(self, before: Server, now: Server) -> None:
        if now[:2] != before[:2]:
            self.moved = True
            self.gap(
                f"another server answers for the database (timeline {now.timeline} after "
                f"{before.timeline}): what the one before had committed last may not be there"
            )
        elif now != before:
            self._stream.note(f"the database's server was restarted at {now.started}")

    def check(self) -> None:
        """Look whether the audit is as it was made; if not, that is a gap. Raises psycopg.Error."""
        assert self.connection is not None
        self._check(self.connection)

    def _check(self, connection: Connection) -> None:
        if reason := audit.fault(connection):
            self.gap(f"the tables or the audit changed under the recorder: {reason}")

    def gap(self, text: str) -> None:
        """Tell of a gap, once, however often it is met."""
        if text not in self._gaps:
            self._gaps.add(text)
            self._stream.gap(text)

    def close(self) -> None:
        """Give the connection back."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def cut(self) -> None:
        """End the session from another thread, whatever it waits for."""
        connection = self.connection
        with suppress(psycopg.Error, OSError):
            if connection is not None:
                link = socket.socket(fileno=os.dup(connection.fileno()))
                with link:
                    link.shutdown(socket.SHUT_RDWR)

    def reopen(self, stop: threading.Event) -> None:
        """Try until the database answers again, or `stop`."""
        lost = self._clock.now()
        self.close()

        def again() -> Connection:
            try:
                return self.open()
            except LOST as error:
                seconds = self._clock.now() - lost
                self.trouble = f"without the database for {seconds:.0f} s: {first_line(error)}"
                raise

        try:
            while_lost(
                stop=tenacity.stop_when_event_set(stop), sleep=tenacity.sleep_using_event(stop)
            )(again)
        except LOST:
            return
        self._stream.note(
            f"the recorder was without the database for {self._clock.now() - lost:.1f} s; "
            f"what is written down meanwhile, for up to {lease.LEASE} s, is not lost by that"
        )


def _server(connection: Connection) -> Server:
    started = connection.execute(_STARTED.encode()).fetchone()
    try:
        cluster = connection.execute(_CLUSTER.encode()).fetchone()
    except psycopg.Error as error:
        if isinstance(error, LOST):
            raise
        cluster = None
    return Server(*(cluster or ("", "")), *(started or ("",)))
