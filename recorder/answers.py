"""Follows what was answered to workers: the file that a proxy of the lab's writes.

The proxy counts its lines, and writes each at once. So a number that is missing, a file that has
become shorter, and one that is gone are gaps, and are told as such.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from oracle.events import AnswerEvent, Event, TaskInstanceEvent, TaskInstanceKey
from recorder.stream import DatabaseClock, RecorderError, Stream

PERIOD = 0.1
"""Seconds between two looks at the file."""

_KEPT = 50_000
"""Rows whose task instances are remembered, so that an answer can name one by its row's id."""

_TAIL = 65_536


class _Line(msgspec.Struct):
    n: int
    t: float
    request: str
    ti: str = ""
    state: str | None = None
    host: str | None = None
    status: int | None = None
    given: bool = False
    by: Literal["api-server", "fault"] = "api-server"


class AnswerReader:
    """Turns the lines of the file into events; without a file there are none.

    `open` draws the line: what was answered before belongs to no history. An answer
    names the task instance of a row whose change the stream has seen.
    """

    def __init__(self, path: Path | None, clock: DatabaseClock, stream: Stream) -> None:
        self._path = path
        self._clock = clock
        self._stream = stream
        self._decode = msgspec.json.Decoder(_Line).decode
        self._place = 0
        self._last = 0
        self._known = 0
        self._lost = False
        self._rows: dict[str, tuple[TaskInstanceKey, int]] = {}

    def open(self) -> None:
        """Begin at the end of the file. Raises RecorderError where there should be one, and is not.

        A line that is just being written is read later.
        """
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                end = file.seek(0, 2)
                file.seek(max(0, end - _TAIL))
                lines = file.read().split(b"\n")
        except OSError as error:
            raise RecorderError(
                f"What was answered to workers cannot be read: {error.strerror}."
            ) from error
        self._place = end - len(lines[-1])
        self._last = self._decode(lines[-2]).n if len(lines) > 1 else 0

    def run(self, stop: threading.Event) -> None:
        """Read what is new, until `stop`."""
        while not stop.wait(PERIOD):
            self.read()

    def read(self) -> None:
        """Emit what was answered since the last look."""
        if self._path is None:
            return
        lines = [*self._lines(self._path)]
        if lines:
            self._see_rows()
            self._stream.emit([self._event(line) for line in lines])

    def _lines(self, path: Path) -> Iterator[_Line]:
        """Yield the lines that are whole; a gap is told of what is missing."""
        try:
            with path.open("rb") as file:
                if file.seek(0, 2) < self._place:
                    self._gap("their file has become shorter")
                    self._place = 0
                file.seek(self._place)
                text = file.read()
        except OSError as error:
            if not self._lost:  # told once, not at every look
                self._gap(f"their file cannot be read: {error.strerror}")
            self._lost = True
            return
        self._lost = False
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        for written in whole.splitlines():
            yield from self._line(written)

    def _line(self, written: bytes) -> Iterator[_Line]:
        try:
            line = self._decode(written)
        except msgspec.MsgspecError as error:
            self._gap(f"a line of their file cannot be understood: {error}")
            return
        if line.n != self._last + 1:
            self._gap(f"after number {self._last} comes {line.n}")
        self._last = line.n
        yield line

    def _gap(self, text: str) -> None:
        self._stream.gap(f"answers to workers are missing: {text}")

    def _see_rows(self) -> None:
        self._known, fresh = self._stream.after(self._known)
        for event in fresh:
            if isinstance(event, TaskInstanceEvent) and event.new is not None:
                self._rows[event.new.id] = event.ti, event.new.try_number
        while len(self._rows) > _KEPT:
            del self._rows[next(iter(self._rows))]

    def _event(self, line: _Line) -> Event:
        ti, try_number = self._rows.get(line.ti, (None, None))
        return AnswerEvent(
            self._clock.at(line.t),
            line.request,
            line.ti,
            ti,
            try_number,
            line.state,
            line.host,
            line.status,
            line.given,
            line.by,
        )
