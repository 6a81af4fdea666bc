"""Reads a history for drawing: as much of it as is whole, and where it breaks off.

A judge refuses a history without an end; a person still wants to see what there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from common.errors import UserError
from oracle.events import Event, Header
from oracle.history import HistoryError, read
from reports.records import SCHEMA, TestRecord
from reports.store import VERDICT

HISTORY = "history.ndjson"


@dataclass
class Source:
    """A history on disk, which can be gone through more than once.

    `broken` says how it breaks off, once it was gone through; None if it is whole. `record` is
    the test's verdict.json, None where there is none.
    """

    path: Path
    header: Header
    record: TestRecord | None = None
    broken: str | None = field(default=None, init=False)

    def events(self) -> Iterator[Event]:
        """Go through the events up to the end, or to where the history breaks off."""
        _, events = _read(self.path)
        try:
            yield from events
        except HistoryError as error:
            self.broken = str(error).replace(f" {self.path}", "").replace(str(self.path), "history")


def open_source(path: Path) -> Source:
    """Open a history: its file, or the test's folder that holds it.

    Raises UserError if there is none that can be read.
    """
    history = path / HISTORY if path.is_dir() else path
    if not history.is_file():
        raise UserError(f"There is no {HISTORY} in {path}.", "The run did not get that far.")
    header, _ = _read(history)
    return Source(history, header, _record(history.with_name(VERDICT)))


def _read(path: Path) -> tuple[Header, Iterator[Event]]:
    try:
        return read(path)
    except HistoryError as error:
        message = str(error)
        raise UserError(message[0].upper() + message[1:] + ".", "Run the test again.") from None


def _record(path: Path) -> TestRecord | None:
    """Read the test's own verdict; a missing or foreign one only makes the header shorter."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=TestRecord)
    except (OSError, msgspec.MsgspecError):
        return None
    return record if record.schema == SCHEMA else None
