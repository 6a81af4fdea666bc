"""Reading and writing histories: NDJSON, append-only, one event in memory at a time.

A history is evidence, so a reader accepts only a whole one: a file that lost its end, or a line of
it, is refused with a single line that says what is wrong and where.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Self

import msgspec

from oracle import old_names
from oracle.events import SCHEMA, End, Event, Header

LINE_LIMIT = 1 << 20
"""Bytes; a longer line is no event of ours, and is not read into memory to find out."""


class HistoryError(Exception):
    """A history cannot be read or written; the message is one clear line."""


def read(path: Path | str) -> tuple[Header, Iterator[Event]]:
    """Open a history: its header at once, its events as they are asked for.

    Raises HistoryError here if the file or its header is unusable, and from the iterator when a
    later line is broken or the end is missing, so that what came before has been seen by then.
    """
    path = Path(path)
    lines = _lines(path)
    return _header(path, next(lines, b"")), _events(path, lines)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_LIMIT + 1):
                number += 1
                if len(line) > LINE_LIMIT:
                    raise HistoryError(f"{path}: line {number} is longer than {LINE_LIMIT} bytes")
                yield line
    except OSError as error:
        raise HistoryError(f"cannot read history {path}: {error.strerror}") from None


def _header(path: Path, line: bytes) -> Header:
    if not line:
        raise HistoryError(f"history {path} is empty")
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


def _events(path: Path, lines: Iterator[bytes]) -> Iterator[Event]:
    decode = msgspec.json.Decoder[Event](Event).decode
    number = 1
    for number, line in enumerate(lines, 2):
        try:
            event = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            event = _old_event(line) or _refuse(path, number, line, error)
        if isinstance(event, End):
            seen = number - 2
            if event.events != seen:
                lost = f"{event.events} events written, {seen} read"
                raise HistoryError(f"history {path} lost lines: {lost}")
            if next(lines, None) is not None:
                raise HistoryError(f"history {path} goes on after its end, at line {number + 1}")
            yield event
            return
        yield event
    raise HistoryError(f"history {path} is truncated: no end after line {number}")


def _old_event(line: bytes) -> Event | None:
    """Read an event in the words of before; only where it is none in the present ones."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        event: Event = msgspec.convert(old_names.present_event(fields), Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return event


def _refuse(path: Path, number: int, line: bytes, error: Exception) -> NoReturn:
    if not line.endswith(b"\n"):
        raise HistoryError(f"history {path} is truncated: line {number} breaks off") from None
    raise HistoryError(f"history {path}, line {number} is no event: {error}") from None


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
