"""Follows the audit in the metadata database: no committed change is missed, or reported twice.

Rows become visible when their transaction commits, not in the order of any counter, so a reader
that asks for "all above the last number" loses rows. This one asks by snapshots: what is visible
now and was not visible in the snapshot of the poll before. That is exact, whatever the number of
writers, and a lost connection loses nothing: the next poll takes up where the last one ended.
"""

import threading
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import psycopg
import tenacity

from common.waiting import Every
from oracle.events import (
    DagRunEvent,
    Event,
    LedgerEvent,
    Row,
    RowModel,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from recorder import audit, tables
from recorder.connection import LOST, Connection, connect, while_lost
from recorder.stream import DatabaseClock, Stream

PERIOD = 0.1
"""Seconds between two polls; after a poll of `MANY` rows or more the next follows at once."""

MANY = 500
TRIM_EVERY = 60.0
"""Seconds between two deletions of what was read, where the audit is trimmed."""

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
    ORDER BY t, a.xid, a.seq
"""

# Until its first ANALYZE the planner takes what is new for a third of the table. For a transaction
# only: a session is not ours alone where a pooler hands it on. Sent together with the poll, in one
# round trip, the statements are one transaction to the server.
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"

_TRIM = "DELETE FROM oracle.audit WHERE xid < pg_snapshot_xmin(%(seen)s::pg_snapshot)"

Names = Callable[[str], str]


# What the audit's rows hold: as the triggers, and the user's code, write them.


class _Named(msgspec.Struct, kw_only=True):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    region: str = ""

    @property
    def ti(self) -> TaskInstanceKey:
        return TaskInstanceKey(self.dag_id, self.run_id, self.task_id, self.map_index, self.region)


class _TaskInstanceBody(_Named, kw_only=True):
    op: Literal["insert", "update", "delete"]
    old: Row | None
    new: Row | None

    def event(self, t: float, process: str, xid: int) -> Event:
        return TaskInstanceEvent(t, self.op, self.ti, self.old, self.new, process, xid)


class _LedgerBody(_Named, kw_only=True):
    op: Literal["start", "end", "fail"]
    try_number: int
    pod: str = ""
    pid: int = 0

    def event(self, t: float, _process: str, _xid: int) -> Event:
        return LedgerEvent(t, self.op, self.ti, self.try_number, self.pod, self.pid)


class _RunBody(msgspec.Struct):
    op: Literal["insert", "update", "delete"]
    dag_id: str
    run_id: str
    old: dict[str, str | None] | None
    new: dict[str, str | None] | None

    def event(self, t: float, process: str, xid: int) -> Event:
        old, new = ((state or {}).get("state") for state in (self.old, self.new))
        return DagRunEvent(t, self.op, self.dag_id, self.run_id, old, new, process, xid)


class _GapBody(msgspec.Struct):
    table: str
    reason: str


_BODIES: dict[str, Callable[[str], _TaskInstanceBody | _LedgerBody | _RunBody | _GapBody]] = {
    "ti": msgspec.json.Decoder(_TaskInstanceBody).decode,
    "run": msgspec.json.Decoder(_RunBody).decode,
    "ledger": msgspec.json.Decoder(_LedgerBody).decode,
    "gap": msgspec.json.Decoder(_GapBody).decode,
}


class DatabaseReader:
    """Turns the rows of the audit into events, in order of commit.

    `open` draws the line: what was committed before it belongs to no history. `names` turns what
    the audit calls a process, by its address maybe, into the process' name. With `trims`, what was
    read is deleted from the audit, lest it grow for hours; there must be no other reader then.
    `model` is what a row of the tables is, once it is open.
    """

    def __init__(
        self,
        dsn: str,
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
        self._connection: Connection | None = None
        self._poll_statement = ""
        self._seen = ""
        self._polled = 0.0
        self._trim = Every(TRIM_EVERY)
        self._measure = Every(_MEASURE_EVERY)
        self._gaps: set[str] = set()
        self.model: RowModel = "row-per-task"

    def open(self) -> None:
        """Connect and begin. Raises AuditError where there is no audit or no database."""
        try:
            connection = self._connect()
            if reason := audit.fault(connection):
                raise audit.AuditError(reason)
            self.model = tables.model(connection)
            row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        except psycopg.Error as error:
            raise audit.AuditError(f"the database cannot be read: {error}") from error
        assert row is not None
        self._seen = row[0]

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop`, through any number of lost connections."""
        while not stop.is_set():
            try:
                many = self.poll() >= MANY
            except LOST:
                self._reconnect(stop)
            else:
                stop.wait(0 if many else PERIOD)

    def poll(self) -> int:
        """Emit what was committed since the last poll; return how many rows that was."""
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connect()
        if self._measure.due():
            self._clock.measure(connection)
        started = self._clock.now()
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(self._poll_statement, {"seen": self._seen})
            while cursor.nextset():
                pass
            rows = cursor.fetchall()
        events = [event for row in rows if row[1] is not None and (event := self._event(row))]
        self._stream.emit(events)
        self._seen = rows[0][0]
        self._polled = started
        if self._trims and self._trim.due():
            connection.execute(_TRIM, {"seen": self._seen})
        return len(events)

    def finish(self, patience: float) -> None:
        """Poll one last time, trying for `patience` seconds; says so if that cannot be done."""

        def last() -> None:
            self.poll()
            assert self._connection is not None
            if reason := audit.fault(self._connection):
                self._gap(f"the tables or the audit changed under the recorder: {reason}")

        try:
            while_lost(stop=tenacity.stop_after_delay(patience))(last)
        except psycopg.Error as error:
            self._stream.gap(
                f"the database could not be read to the end; changes since t={self._polled:.1f} s "
                f"are missing: {error}"
            )
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

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
        with connect(self._dsn) as connection:
            return connection.execute(
                f"SELECT state FROM task_instance WHERE id = %s{condition}", (task_instance_id,)
            ).fetchone()

    def _event(self, row: tuple[Any, ...]) -> Event | None:
        _, seq, xid, unix, process, kind, body = row
        try:
            decoded = _BODIES[kind](body)
            if isinstance(decoded, _GapBody):
                gap = f"{decoded.table}: {decoded.reason}"
                self._gap(f"the tables changed under the recorder, {gap}")
                return None
            return decoded.event(self._clock.since_epoch(unix), self._names(process), int(xid))
        except (KeyError, msgspec.ValidationError) as error:
            self._stream.gap(f"row {seq} of the audit, kind {kind}, cannot be understood: {error}")
            return None

    def _gap(self, text: str) -> None:
        """Tell of a gap, once: the audit tells of it at every change."""
        if text not in self._gaps:
            self._gaps.add(text)
            self._stream.gap(text)

    def _connect(self) -> Connection:
        self.close()
        connection = connect(self._dsn, autocommit=True)
        self._clock.measure(connection)
        tracked = connection.execute("SHOW track_commit_timestamp").fetchone() == ("on",)
        self._poll_statement = _BY_INDEX + _POLL.format(committed=_COMMITTED[tracked])
        if not tracked:
            self._stream.note("commit times are not tracked here; row times stand in for them")
        self._connection = connection
        return connection

    def _reconnect(self, stop: threading.Event) -> None:
        """Try until the database answers again or `stop`; `finish` has the last word then."""
        lost = self._clock.now()
        self.close()
        try:
            while_lost(
                stop=tenacity.stop_when_event_set(stop), sleep=tenacity.sleep_using_event(stop)
            )(self._connect)
        except LOST:
            return
        self._stream.note(
            f"the recorder was without the database for {self._clock.now() - lost:.1f} s; "
            "nothing is lost by that, the audit kept it"
        )
