"""Follows the audit in the metadata database: no committed change is missed, or reported twice.

Rows become visible when their transaction commits, not in the order of any counter, so a reader
that asks for "all above the last number" loses rows. This one asks by snapshots: what is visible
now and was not visible in the snapshot of the poll before. That is exact, whatever the number of
writers, and a lost connection loses nothing: the next poll takes up where the last one ended.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
import tenacity

from common.redaction import first_line
from common.waiting import Every
from oracle.events import Event, RowEvent, RowModel
from recorder import audit, lease, others, tables
from recorder.connection import LOST, Connection, Dsn, connect, transaction, while_lost
from recorder.link import Link
from recorder.rows import Gap, decode
from recorder.stream import DatabaseClock, Stream

PERIOD = 0.1
"""Seconds between two polls; after a poll of `MANY` rows or more the next follows at once."""

MANY = 500
AT_ONCE = 5_000
"""Rows that a poll has in memory at most; of more it reads one portion after the other."""

TRIM_EVERY = 60.0
"""Seconds between two deletions of what was read, where the audit is trimmed."""

EMPTY_ABOVE = 64_000_000
"""Bytes; a trimmed audit of this size is emptied, where nobody is writing into it just then.

Deleted rows alone do not make it smaller while somebody's old transaction keeps vacuum from them.
"""

MOST_BYTES = 1_000_000_000
"""Bytes; a trimmed audit that has grown so far all the same is written into no more."""

_MEASURE_EVERY = 30.0

# The time of a commit orders transactions; where it is not kept (track_commit_timestamp), the last
# row of the transaction stands in for it: a change of the same row by another comes after both.
_COMMITTED = {
    True: "coalesce(pg_xact_commit_timestamp(a.xid::xid), a.at)",
    False: "max(a.at) OVER (PARTITION BY a.xid)",
}
_POLL = """
    SELECT s.now::text, a.seq, a.xid::text,
        extract(epoch FROM {committed})::float8 AS t, a.process, a.kind, a.body::text
    FROM (SELECT pg_current_snapshot() AS now) AS s LEFT JOIN oracle.audit AS a
        ON a.xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)
        AND NOT pg_visible_in_snapshot(a.xid, %(seen)s::pg_snapshot)
    ORDER BY t, a.xid, a.seq {limit}
"""

# Until its first ANALYZE the planner takes what is new for a third of the table. For a transaction
# only: a session is not ours alone where a pooler hands it on. Sent together with the poll, in one
# round trip, the statements are one transaction to the server.
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
_UNBOUND = "SET LOCAL statement_timeout = 0;"

_SIZE = "SELECT pg_catalog.pg_table_size('oracle.audit')"
_TRIM = "DELETE FROM oracle.audit WHERE xid < pg_snapshot_xmin(%(seen)s::pg_snapshot)"

Names = Callable[[str], str]


class DatabaseReader:
    """Turns the rows of the audit into events, in order of commit.

    `open` draws the line: what was committed before it belongs to no history. `names` turns what
    the audit calls a process, by its address maybe, into the process' name. With `trims`, what was
    read is deleted from the audit, lest it grow for hours. `model` is what a row of the tables is,
    once it is open.
    """

    def __init__(
        self,
        dsn: Dsn,
        clock: DatabaseClock,
        stream: Stream,
        names: Names = str,
        *,
        trims: bool = False,
    ) -> None:
        self._dsn = dsn
        self._clock = clock
        self._stream = stream
        self._names = names
        self._trims = trims
        self._link = Link(dsn, clock, stream)
        self._seen = ""
        self._told: set[int] = set()
        self._polled = 0.0
        self._trim = Every(TRIM_EVERY)
        self._measure = Every(_MEASURE_EVERY)
        self._renew = Every(lease.RENEW_EVERY)
        self._full = False
        self.model: RowModel = "row-per-task"

    @property
    def by_commit(self) -> bool:
        """Whether the server tells when each transaction was committed."""
        return self._link.tracked

    @property
    def trouble(self) -> str:
        """Why there is no session just now, and for how long; empty while there is one."""
        return self._link.trouble

    def open(self) -> None:
        """Connect and begin. Raises AuditError where there is no audit or no database."""
        try:
            connection = self._link.open()
            if reason := audit.fault(connection):
                raise audit.AuditError(reason)
            self.model = tables.model(connection)
            self._begin_at_now(connection)
            self._see(connection)
            self._say_so(connection)
        except psycopg.Error as error:
            raise audit.AuditError(f"the database cannot be read: {first_line(error)}") from error

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop`, through any number of lost connections."""
        while not stop.is_set():
            try:
                many = self.poll() >= MANY
            except LOST:
                many = False
                if not stop.is_set():
                    self._link.reopen(stop)
            stop.wait(0 if many else PERIOD)

    def interrupt(self) -> None:
        """Wake `run` from waiting for a server that does not answer, once its `stop` is set."""
        self._link.cut()

    def poll(self) -> int:
        """Emit what was committed since the last poll; return how many rows that was."""
        connection = self._connected()
        if self._measure.due():
            self._clock.measure(connection)
            self._link.check()
        count = self._read(connection)
        if self._renew.due():
            self._say_so(connection)
        if self._trims and self._trim.due():
            self._make_room(connection)
        return count

    def _connected(self) -> Connection:
        """Return the session that there is, or a new one; the reader goes on where it was.

        At a server that has taken another one's place it begins anew: what a number of a
        transaction meant there, it may not mean here.
        """
        connection = self._link.connection
        if connection is None or connection.closed:
            connection = self._link.open()
        if self._link.moved:
            self._begin_at_now(connection)
            self._link.moved = False
        return connection

    def _begin_at_now(self, connection: Connection) -> None:
        self._seen = str(_one(connection, "SELECT pg_catalog.pg_current_snapshot()::text"))

    def _see(self, connection: Connection) -> None:
        """Tell the rows that were there before, after the line is drawn: none is missed by it."""
        for name, row in others.rows_seen(connection):
            self._stream.emit([RowEvent(0.0, "seen", name, None, row)])

    def _read(self, connection: Connection) -> int:
        started = self._clock.now()
        with psycopg.ClientCursor(connection) as cursor:
            statement = _BY_INDEX + _UNBOUND + self._poll(f"LIMIT {AT_ONCE}")
            cursor.execute(statement, {"seen": self._seen})
            while cursor.nextset():
                pass
            rows = cursor.fetchall()
        if len(rows) < AT_ONCE:
            count = self._emit(rows)
            self._saw(rows[0][0])
        else:
            count = self._read_in_portions(connection)
        self._polled = started
        return count

    def _poll(self, limit: str = "") -> str:
        return _POLL.format(committed=_COMMITTED[self._link.tracked], limit=limit)

    def _read_in_portions(self, connection: Connection) -> int:
        """Read what has piled up while nobody could, without having all of it in memory.

        Where the session is lost amid it, the next read begins anew, and tells nothing again.
        """
        count, seen = 0, self._seen
        with transaction(connection):
            connection.execute(_BY_INDEX.encode())
            with psycopg.ServerCursor(connection, "audit") as cursor:
                cursor.execute(self._poll(), {"seen": self._seen})
                while rows := cursor.fetchmany(AT_ONCE):
                    seen = rows[0][0]
                    count += self._emit(rows)
                    self._told.update(row[1] for row in rows)
                    self._stream.relieve()
        self._saw(seen)
        return count

    def _saw(self, snapshot: str) -> None:
        """Draw the line: all that this snapshot sees was told."""
        self._seen = snapshot
        self._told.clear()

    def _emit(self, rows: Sequence[tuple[Any, ...]]) -> int:
        fresh = (row for row in rows if row[1] is not None and row[1] not in self._told)
        events = [event for row in fresh if (event := self._event(row))]
        self._stream.emit(events)
        return len(events)

    def _say_so(self, connection: Connection) -> None:
        if not self._full:
            with transaction(connection):
                lease.renew(connection)

    def _make_room(self, connection: Connection) -> None:
        """Delete what was read; empty a table that has grown all the same."""
        with transaction(connection):
            connection.execute(_TRIM, {"seen": self._seen})
            size = int(_one(connection, _SIZE))
        if size < EMPTY_ABOVE:
            return
        try:
            with transaction(connection):
                connection.execute("SET LOCAL lock_timeout = '100ms'")
                connection.execute("LOCK TABLE oracle.audit IN ACCESS EXCLUSIVE MODE")
                self._read(connection)
                connection.execute("TRUNCATE oracle.audit")
        except psycopg.errors.LockNotAvailable:
            if size >= MOST_BYTES:
                self._give_up(connection, size)

    def _give_up(self, connection: Connection, size: int) -> None:
        self._full = True
        with transaction(connection):
            lease.give_up(connection)
        self._link.gap(
            f"the audit has grown to {size // 1_000_000} MB, which somebody's long transaction or "
            "backup keeps it from giving back: nothing more is written down"
        )

    def finish(self, patience: float) -> None:
        """Poll one last time, trying for `patience` seconds; says so if that cannot be done."""

        def last() -> None:
            self.poll()
            self._link.check()

        try:
            while_lost(stop=tenacity.stop_after_delay(patience))(last)
        except psycopg.Error as error:
            self._stream.gap(
                f"the database could not be read to the end; changes since t={self._polled:.1f} s "
                f"are missing: {first_line(error)}"
            )
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._link.close()

    def state_now(self, task_instance_id: str) -> tuple[bool, str | None]:
        """Tell whether a row of this id is there, and its state; for another thread than `run`'s.

        To the execution API an archived attempt is not. Raises psycopg.Error.
        """
        live = " AND working_set" if self.model == "row-per-attempt" else ""
        row = self._row(task_instance_id, live)
        return (True, row[0]) if row else (False, None)

    def has_row(self, task_instance_id: str) -> bool:
        """Tell whether a row of this id is there, an archived attempt's too; likewise.

        Where the database cannot say, it is: what we see is taken for ours.
        """
        try:
            return self._row(task_instance_id) is not None
        except psycopg.Error:
            return True

    def _row(self, task_instance_id: str, condition: str = "") -> tuple[Any, ...] | None:
        with connect(self._dsn()) as connection:
            return connection.execute(
                f"SELECT state FROM task_instance WHERE id = %s{condition}", (task_instance_id,)
            ).fetchone()

    def _event(self, row: tuple[Any, ...]) -> Event | None:
        _, seq, xid, unix, process, kind, body = row
        try:
            decoded = decode(kind, body)
            if isinstance(decoded, Gap):
                gap = f"{decoded.table}: {decoded.reason}"
                self._link.gap(f"the tables changed under the recorder, {gap}")
                return None
            return decoded.event(self._clock.since_epoch(unix), self._names(process), int(xid))
        except (KeyError, msgspec.ValidationError) as error:
            self._stream.gap(f"row {seq} of the audit, kind {kind}, cannot be understood: {error}")
            return None


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
