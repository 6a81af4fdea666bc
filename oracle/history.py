"""Reading and writing histories: NDJSON, append-only, one event in memory at a time.

A history is evidence, so a reader accepts only a whole one: a file that lost its end, or a line of
it, is refused with a single line that says what is wrong and where.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

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
    try:
        file = path.open("rb")
    except OSError as error:
        raise HistoryError(f"cannot read history {path}: {error.strerror}") from None
    try:
        header = _header(path, file)
    except BaseException:
        file.close()
        raise
    return header, _events(path, file)


def _header(path: Path, file: BinaryIO) -> Header:
    line = _line(path, file, 1)
    if not line:
        raise HistoryError(f"history {path} is empty")
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HistoryError(f"{path} is no history: its first line is not JSON") from None
    if not isinstance(raw, dict) or raw.get("kind") != "header":
        raise HistoryError(f"{path} is no history: its first line is not a header")
    if raw.get("schema") != SCHEMA:
        told = raw.get("schema")
        raise HistoryError(f"history {path} has schema {told!r}, this reader knows only {SCHEMA}")
    try:
        return msgspec.convert(raw, Header)
    except msgspec.ValidationError as error:
        raise HistoryError(f"history {path} has a broken header: {error}") from None


def _events(path: Path, file: BinaryIO) -> Iterator[Event]:
    decode = msgspec.json.Decoder[Event](Event).decode
    with file:
        number = 1
        while line := _line(path, file, number + 1):
            number += 1
            try:
                event = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                event = _old_event(line) or _refuse(path, number, line, error)
            if isinstance(event, End):
                _check_end(path, file, event, number - 2)
                yield event
                return
            yield event
    raise HistoryError(f"history {path} is truncated: no end after line {number}")


def _check_end(path: Path, file: BinaryIO, end: End, seen: int) -> None:
    if end.events != seen:
        raise HistoryError(f"history {path} lost lines: {end.events} events written, {seen} read")
    if file.read(1):
        raise HistoryError(f"history {path} goes on after its end, at line {seen + 3}")


def _line(path: Path, file: BinaryIO, number: int) -> bytes:
    try:
        line = file.readline(LINE_LIMIT + 1)
    except OSError as error:
        raise HistoryError(f"cannot read history {path}: {error.strerror}") from None
    if len(line) > LINE_LIMIT:
        raise HistoryError(f"{path}: line {number} is longer than {LINE_LIMIT} bytes")
    return line


def _old_event(line: bytes) -> Event | None:
    """Read an event in the words of before; only where it is none in the present ones."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        return msgspec.convert(old_names.present_event(fields), Event)  # type: ignore[arg-type]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _append(self, record: Header | Event) -> None:
        try:
            self._file.write(self._encoder.encode(record) + b"\n")
            self._file.flush()
        except OSError as error:
            raise HistoryError(f"cannot write history {self.path}: {error.strerror}") from None
