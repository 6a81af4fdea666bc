"""Reading and writing histories: NDJSON, append-only, a block of events in memory at a time.

A history is evidence, so a reader accepts only a whole one: a file that lost its end, or a line of
it, is refused with a single line that says what is wrong and where.
"""

from collections.abc import Iterator
from itertools import chain
from operator import length_hint
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from oracle import old_names
from oracle.events import SCHEMA, End, Event, Header

LINE_LIMIT = 1 << 20
"""Bytes; a longer line is no event of ours, and is not read into memory to find out."""

LATEST = 24 << 20
"""Bytes that are read once more to tell how something came about: some 60,000 events."""

_BLOCK = 1 << 16
"""Bytes that are read at a time: some 150 events."""


class HistoryError(Exception):
    """A history cannot be read or written; the message is one clear line."""


def read(path: Path | str) -> tuple[Header, Iterator[Event]]:
    """Open a history: its header at once, its events as they are asked for.

    Raises HistoryError here if the file or its header is unusable, and from the iterator when a
    later line is broken or the end is missing, so that what came before has been seen by then.
    """
    reading = Reading(path)
    return reading.header, reading.events()


class _Block(NamedTuple):
    """Lines of a file: where they begin, and how many; the last of a file may be `broken` off."""

    place: int
    text: bytes
    lines: int
    broken: bool = False


class Reading:
    """A history that is read once, from its header to its end, and can be asked what came last.

    Raises HistoryError as `read` does.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._blocks = _blocks(self._path)
        first = next(self._blocks, None)
        if first is None:
            raise HistoryError(f"history {path} is empty")
        line, newline, text = first.text.partition(b"\n")
        self.header = _header(self._path, line)
        self._asked = len(line + newline)
        self._block = _Block(self._asked, text, first.lines - 1)
        self._decoder = msgspec.json.Decoder[Event](Event)
        self._coming: Iterator[Event] = iter(())

    def events(self) -> Iterator[Event]:
        """Give the events, in order; to be called once."""
        return chain.from_iterable(self._parts())

    def _parts(self) -> Iterator[Iterator[Event]]:
        number = 1
        for block in chain([self._block], self._blocks):
            self._block = block
            events, problem = self._decoded(block, number)
            self._coming = iter(events)
            yield self._coming
            if problem is not None:
                raise problem
            if events and isinstance(events[-1], End):
                return
            number += block.lines
        raise HistoryError(f"history {self._path} is truncated: no end after line {number}")

    @property
    def twice(self) -> bool:
        """Whether the file can be read once more; a pipe cannot."""
        return self._path.is_file()

    def latest(self) -> Iterator[Event]:
        """Give once more, from the file, what was given since this was asked last.

        Of that, only the last `LATEST` bytes or so.
        """
        lines = _lines(self._block.text)
        given = lines[: len(lines) - length_hint(self._coming)]
        until = self._block.place + sum(len(line) + 1 for line in given)
        since, self._asked = self._asked, until
        try:
            with self._path.open("rb") as file:
                if since < until - LATEST:
                    file.seek(until - LATEST)
                    file.readline()
                else:
                    file.seek(since)
                while file.tell() < until:
                    yield _event(self._decoder, file.readline())
        except OSError as error:
            raise _unreadable(self._path, error) from None

    def _decoded(self, block: _Block, before: int) -> tuple[list[Event], HistoryError | None]:
        """Return the events of a block, up to the end or what is wrong with it."""
        try:
            events = self._decoder.decode_lines(block.text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._one_by_one(block, before)
        if len(events) != block.lines or End in map(type, events):
            return self._one_by_one(block, before)
        return events, None

    def _one_by_one(self, block: _Block, before: int) -> tuple[list[Event], HistoryError | None]:
        """Read a block in which something is the end, told in old words, or no event."""
        events: list[Event] = []
        try:
            for number, line in enumerate(_lines(block.text), before + 1):
                event = self._event(line, number, block.broken)
                if isinstance(event, End):
                    self._check_end(event, number, last=number == before + block.lines)
                events.append(event)
        except HistoryError as problem:
            return events, problem
        return events, None

    def _event(self, line: bytes, number: int, broken: bool) -> Event:
        try:
            return _event(self._decoder, line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problem = (
                f"history {self._path} is truncated: line {number} breaks off"
                if broken
                else f"history {self._path}, line {number} is no event: {error}"
            )
            raise HistoryError(problem) from None

    def _check_end(self, end: End, number: int, *, last: bool) -> None:
        seen = number - 2
        if end.events != seen:
            lost = f"{end.events} events written, {seen} read"
            raise HistoryError(f"history {self._path} lost lines: {lost}")
        if not last or next(self._blocks, None) is not None:
            raise HistoryError(f"history {self._path} goes on after its end, at line {number + 1}")


def _blocks(path: Path) -> Iterator[_Block]:
    place, number = 0, 1
    try:
        with path.open("rb") as file:
            while text := file.read(_BLOCK) + file.readline(LINE_LIMIT):
                # As many as text.count(b"\n") finds, in a fifth of the time.
                lines = len(text) - len(text.replace(b"\n", b""))
                whole = text.rfind(b"\n") + 1
                if len(text) - whole >= LINE_LIMIT:
                    number += lines
                    raise HistoryError(f"{path}: line {number} is longer than {LINE_LIMIT} bytes")
                if whole:
                    yield _Block(place, text[:whole], lines)
                if whole < len(text):
                    yield _Block(place + whole, text[whole:], 1, broken=True)
                place += len(text)
                number += lines
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> HistoryError:
    return HistoryError(f"cannot read history {path}: {error.strerror}")


def _header(path: Path, line: bytes) -> Header:
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HistoryError(f"{path} is no history: its first line is not JSON") from None
    if not isinstance(raw, dict) or raw.get("kind") != "header":
        raise HistoryError(f"{path} is no history: its first line is not a header")
    if raw.get("schema") != SCHEMA:
        found = raw.get("schema")
        raise HistoryError(f"history {path} has schema {found!r}, this reader knows only {SCHEMA}")
    try:
        return msgspec.convert(raw, Header)
    except msgspec.ValidationError as error:
        raise HistoryError(f"history {path} has a broken header: {error}") from None


def _lines(text: bytes) -> list[bytes]:
    return text.removesuffix(b"\n").split(b"\n") if text else []


def _event(decoder: msgspec.json.Decoder[Event], line: bytes) -> Event:
    """Read an event, in the words of before only where it is none in the present ones."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        event = _old_event(line)
        if event is None:
            raise
        return event


def _old_event(line: bytes) -> Event | None:
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        event: Event = msgspec.convert(old_names.present_event(fields), Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return event


class Writer:
    """Appends events to a new file; what was written survives a crash of the writer.

    Every event is handed to the operating system at once. A history that was not closed has no
    end and counts as truncated, so a recorder that dies can never pass for one that saw all.
    Leaving a `with` block without `close` only gives the file back. Not for several threads at
    once. Raises HistoryError if the file exists already or cannot be written.
    """

    def __init__(self, path: Path | str, header: Header) -> None:
        self.path = Path(path)
        self.events = 0
        self._encoder = msgspec.json.Encoder()
        try:
            self._file = self.path.open("xb")
        except FileExistsError:
            raise HistoryError(
                f"history {path} exists already; histories are not written over"
            ) from None
        except OSError as error:
            raise HistoryError(f"cannot write history {path}: {error.strerror}") from None
        self._append(header)

    def write(self, event: Event) -> None:
        """Append one event; `End` is written by `close` alone."""
        if isinstance(event, End):
            raise ValueError("the end of a history is written by close()")
        self._append(event)
        self.events += 1

    def close(self, t: float) -> End:
        """Append the end, at `t` seconds, and close; gives back what it wrote, for a live judge."""
        end = End(t=t, events=self.events)
        self._append(end)
        self._file.close()
        return end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _append(self, record: Header | Event) -> None:
        try:
            self._file.write(self._encoder.encode(record) + b"\n")
            self._file.flush()
        except OSError as error:
            raise HistoryError(f"cannot write history {self.path}: {error.strerror}") from None
