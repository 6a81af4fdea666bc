"""The one pass over a history: it is judged, and what a timeline shows of it is collected.

A judge refuses a history without an end; a person still wants to see what there is: as much of it
as is whole, and where it breaks off.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from common.errors import UserError
from common.redaction import redact
from oracle.events import End, Event, Header, TaskInstanceKey
from oracle.history import HistoryError, read
from oracle.invariants import Violation
from oracle.verdict import Judge, Judgement
from reports.metrics import HISTORY
from reports.records import SCHEMA, TestRecord
from reports.store import VERDICT
from reports.timeline.collection import Collection, Collector

MARKS = 5_000
"""Violations that are drawn; more are only counted, for points would cover one another."""


@dataclass(frozen=True)
class Mark:
    """A violation as it is drawn: when, whose, which promise, and its text (redacted)."""

    t: float
    ti: TaskInstanceKey | None
    invariant: str
    message: str


@dataclass(frozen=True)
class Survey:
    """What was found in a history; `end` is the time of its last event, seconds.

    `record` is the test's verdict.json, None where there is none. `breaks_off` says how a history
    ends that is not whole.
    """

    header: Header
    judgement: Judgement
    collection: Collection
    marks: tuple[Mark, ...]
    end: float
    record: TestRecord | None = None
    breaks_off: str = ""

    @property
    def violating(self) -> dict[TaskInstanceKey, list[Mark]]:
        """Return the task instances that have a violation, with their violations in order."""
        found: dict[TaskInstanceKey, list[Mark]] = {}
        for mark in self.marks:
            if mark.ti is not None:
                found.setdefault(mark.ti, []).append(mark)
        return found

    @property
    def violations(self) -> int:
        """Return how many violations there are, drawn or not."""
        return sum(self.judgement.by_invariant.values())

    @property
    def verdict(self) -> str:
        """Return the test's own verdict, or, without one, what the history alone proves."""
        return self.record.verdict if self.record else self.judgement.verdict


class Surveyor:
    """Collects what is drawn while a history is read for its judge; `conclude` ends it."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._collector = Collector(header)
        self._violations: list[Violation] = []
        self._end = 0.0

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:
        """Take the next event, and what the judge found in it."""
        if violations and len(self._violations) < MARKS:
            self._violations.extend(violations)
        if not isinstance(event, End):
            self._end = max(self._end, event.t)
        self._collector.feed(event)

    def conclude(
        self, judgement: Judgement, record: TestRecord | None = None, breaks_off: str = ""
    ) -> Survey:
        """Return what was found, beside what the judge and the test say of it."""
        violations = (*self._violations, *judgement.violations)
        unique = {(v.t, v.ti, v.invariant): v for v in violations}
        marks = tuple(sorted(map(_mark, unique.values()), key=lambda mark: mark.t))
        end = max(self._end, 0.001, *(mark.t for mark in marks))
        collection = self._collector.finish({mark.ti for mark in marks if mark.ti}, end)
        return Survey(self._header, judgement, collection, marks, end, record, breaks_off)


def surveyed(path: Path) -> Survey:
    """Read and judge a history: its file, or the test's folder that holds it.

    Raises UserError if there is none that can be read.
    """
    history = path / HISTORY if path.is_dir() else path
    if not history.is_file():
        raise UserError(f"There is no {HISTORY} in {path}.", "The run did not get that far.")
    header, events = _read(history)
    judge, surveyor, breaks_off = Judge(header), Surveyor(header), ""
    try:
        for event in events:
            surveyor.feed(event, judge.feed(event))
    except HistoryError as error:
        breaks_off = str(error).replace(f" {history}", "").replace(str(history), "history")
    record = _record(history.with_name(VERDICT))
    return complete(surveyor.conclude(judge.conclude(), record, breaks_off), history)


def complete(found: Survey, history: Path) -> Survey:
    """Collect the details of every task instance that has a violation.

    Only where a history has more task instances than details are kept of, and one of the others
    broke a promise, this takes a second pass: who that is, nobody knows before.
    """
    violating = found.violating.keys()
    if not found.collection.left_out or violating <= found.collection.tracks.keys():
        return found
    header, events = _read(history)
    collector = Collector(header, frozenset(violating))
    with suppress(HistoryError):
        for event in events:
            collector.feed(event)
    return replace(found, collection=collector.finish(violating, found.end))


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


def _mark(violation: Violation) -> Mark:
    return Mark(violation.t, violation.ti, violation.invariant, redact(violation.message))
