"""Where the events of all sources meet: seen at once by who waits, written in order of time.

Sources are late by different times (a poll, a watch, the reading of a log). Who waits for an event
gets it at once; the file and the listeners get it `SETTLE` seconds later, by when what happened
before it has come in too. What is later still is put in its place when the stream is closed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

import msgspec

from common.errors import UserError
from common.files import whole
from common.redaction import excerpt
from common.waiting import Deadline
from oracle.events import Event, Header, NoteEvent
from oracle.history import Writer
from recorder.connection import Connection

SETTLE = 0.5
"""Seconds that an event is held back so that an earlier one may overtake it."""

REMEMBERED = 50_000
"""Events kept for `wait` to look back at; memory stays bounded however long the run is."""

MOST_GAPS = 1_000
"""Gaps that are kept in words; one is enough for a verdict."""

_TICK = 0.1
_SAMPLES = 5
_logger = logging.getLogger(__name__)
_by_time = attrgetter("t")

Listener = Callable[[Event], object]


class RecorderError(UserError):
    """The recorder cannot start; the message is one clear line."""


class DatabaseClock:
    """Tells the database's time without asking it: the local monotonic clock and an offset.

    The local wall clock is not used, since it may be stepped and may be another machine's. The
    offset's error is at most half of the quickest round trip that was seen when it was measured.
    """

    def __init__(self) -> None:
        self.epoch = 0.0
        self._offset = 0.0

    def measure(self, connection: Connection) -> None:
        """Measure the offset anew; the first time also begins the epoch."""
        samples = []
        for _ in range(_SAMPLES):
            before = time.monotonic()
            row = connection.execute(
                "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"
            ).fetchone()
            after = time.monotonic()
            assert row is not None
            samples.append((after - before, float(str(row[0])) - (before + after) / 2))
        self._offset = min(samples)[1]
        if not self.epoch:
            self.epoch = round(time.monotonic() + self._offset, 6)

    def now(self) -> float:
        """Return the seconds since the epoch, now."""
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> float:
        """Turn a reading of this machine's CLOCK_MONOTONIC into seconds since the epoch."""
        return self.since_epoch(monotonic + self._offset)

    def since_epoch(self, unix: float) -> float:
        """Turn unix seconds of the database into seconds since the epoch, never below 0."""
        return max(0.0, round(unix - self.epoch, 6))


class Stream:
    """Collects events from any thread, and writes them as a history.

    `gaps` says, in words, what may be missing; a history with gaps supports no verdict.
    """

    def __init__(self, now: Callable[[], float], listeners: Sequence[Listener] = ()) -> None:
        self.gaps: list[str] = []
        self._now = now
        self._listeners = list(listeners)
        self._arrival = threading.Condition()
        self._seen: deque[Event] = deque(maxlen=REMEMBERED)
        self._total = 0
        self._pending: list[Event] = []
        self._settling = threading.Lock()
        self._writer: Writer | None = None
        self._last = 0.0
        self._in_order = True
        self._failed = False

    def open(self, path: Path, header: Header) -> None:
        """Begin the file. Raises HistoryError if it exists or cannot be written."""
        self._writer = Writer(path, header)

    def emit(self, events: Sequence[Event]) -> None:
        """Take in events of one source, in that source's order."""
        if events:
            with self._arrival:
                self._seen.extend(events)
                self._total += len(events)
                if not self._failed:
                    self._pending.extend(events)
                self._arrival.notify_all()

    def note(self, text: str) -> None:
        """Leave a remark, without secrets, for who reads the history."""
        self.emit([NoteEvent(self._now(), excerpt(text))])

    def gap(self, text: str) -> None:
        """Tell that something may be missing from here on."""
        text = excerpt(text)
        _logger.warning("the recorder has a gap: %s", text)
        if len(self.gaps) < MOST_GAPS:
            self.gaps.append(text)
        self.emit([NoteEvent(self._now(), f"gap in this history: {text}")])

    def wait(self, predicate: Callable[[Event], bool], timeout: float, since: float = 0.0) -> Event:
        """Return the first event, seen already or to come, that is not before `since` and fits.

        Raises TimeoutError after `timeout` seconds. Runs `predicate` in the caller's thread.
        """
        deadline = Deadline(timeout)
        known = 0
        while True:
            known, fresh = self.after(known, min(_TICK, deadline.left))
            for event in fresh:
                if event.t >= since and predicate(event):
                    return event
            if deadline.passed:
                raise TimeoutError(f"no such event was recorded within {timeout:g} s")

    def after(self, known: int, patience: float = 0.0) -> tuple[int, list[Event]]:
        """Return how many events have come, and those after the first `known` of them.

        Waits up to `patience` seconds for one; those that are not remembered any more are left out.
        """
        with self._arrival:
            if self._total == known:
                self._arrival.wait(patience)
            fresh = min(self._total - known, len(self._seen))
            return self._total, [*islice(reversed(self._seen), fresh)][::-1]

    def run(self, stop: threading.Event) -> None:
        """Write what has settled, until `stop`; what comes after a failure is let go."""
        try:
            while not stop.wait(_TICK):
                self.settle(self._now() - SETTLE)
        except BaseException:
            with self._arrival:
                self._failed = True
                self._pending.clear()
            raise

    def relieve(self) -> None:
        """Write what has settled now, for a source that has much to tell at once."""
        if self._writer is not None and not self._failed:
            self.settle(self._now() - SETTLE)

    def settle(self, until: float) -> None:
        """Write the pending events up to time `until`, in order, and tell the listeners."""
        with self._settling:
            with self._arrival:
                ready = sorted((e for e in self._pending if e.t <= until), key=_by_time)
                self._pending = [e for e in self._pending if e.t > until]
            for event in ready:
                self._write(event)

    def close(self) -> Path:
        """Write all that is pending and the end, and put the file into order of time."""
        assert self._writer is not None
        self.settle(float("inf"))
        self._tell(self._writer.close(max(self._now(), self._last)))
        if not self._in_order:
            sort_by_time(self._writer.path)
        return self._writer.path

    def _write(self, event: Event) -> None:
        assert self._writer is not None
        self._in_order = self._in_order and event.t >= self._last
        self._last = max(self._last, event.t)
        self._writer.write(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:
                _logger.exception("a listener of the recorder failed, and is told no more")
                self._listeners.remove(listener)
                self.gaps.append(f"a listener failed: {type(error).__name__}")


class _Moment(msgspec.Struct):
    t: float


def sort_by_time(path: Path) -> None:
    """Sort a closed history by time; stable, so what one source saw at one moment stays so.

    In memory are the times and places of the events that came late, and no others.
    """
    with path.open("rb") as source, path.open("rb") as again:
        source.readline()
        late = sorted(_late(source))
        with whole(path) as building, building.open("wb") as ordered:
            source.seek(0)
            ordered.write(source.readline())
            latest, waiting = float("-inf"), 0
            for t, place, line in _told(source):
                if t < latest:
                    continue
                latest = t
                while waiting < len(late) and late[waiting] < (t, place):
                    again.seek(late[waiting][1])
                    ordered.write(again.readline())
                    waiting += 1
                ordered.write(line)


def _told(source: BinaryIO) -> Iterator[tuple[float, int, bytes]]:
    """Give the time, the place and the text of each line from here on."""
    decode = msgspec.json.Decoder(_Moment).decode
    place = source.tell()
    for line in source:
        yield decode(line).t, place, line
        place += len(line)


def _late(source: BinaryIO) -> Iterator[tuple[float, int]]:
    """Give the times and places of the events that stand after a later one."""
    latest = float("-inf")
    for t, place, _ in _told(source):
        if t < latest:
            yield t, place
        else:
            latest = t
