"""Puts a history into order of time, in memory that does not grow with its length."""

import tempfile
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path

import msgspec

from oracle.events import End, Event
from oracle.history import Writer, read

CHUNK = 50_000
"""Events that are sorted at a time; some 50 MB."""

_by_time = attrgetter("t")


def sort_by_time(path: Path, chunk: int = CHUNK) -> None:
    """Sort a closed history by time; stable, so what one source saw at one moment stays so.

    Sorted parts are merged from files beside it. Raises HistoryError.
    """
    header, events = read(path)
    ordered = path.with_name(path.name + ".sorted")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="sorting-") as folder:
        parts, end = _parts(events, Path(folder), chunk)
        with Writer(ordered, header) as writer:
            for event in merge(*map(_read, parts), key=_by_time):
                writer.write(event)
            writer.close(end.t)
    ordered.replace(path)


def _parts(events: Iterator[Event], folder: Path, chunk: int) -> tuple[list[Path], End]:
    """Write sorted parts into `folder`; return them in the history's order, and its end."""
    parts: list[Path] = []
    encoder = msgspec.json.Encoder()
    while True:
        some = list(islice(events, chunk))
        end = some.pop() if some and isinstance(some[-1], End) else None
        part = folder / f"{len(parts)}.ndjson"
        with part.open("wb") as file:
            file.writelines(encoder.encode(event) + b"\n" for event in sorted(some, key=_by_time))
        parts.append(part)
        if isinstance(end, End):
            return parts, end


def _read(part: Path) -> Iterator[Event]:
    decode = msgspec.json.Decoder[Event](Event).decode
    with part.open("rb") as file:
        for line in file:
            yield decode(line)
