"""The one pass over a history: it is judged, and what a timeline shows of it is collected.

A judge refuses a history without an end; a person still wants to see what there is: as much of it
as is whole, and where it breaks off. What is kept is bounded: the steps of time by their number,
the details by TASK_INSTANCES.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from common.errors import UserError
from common.redaction import redact
from oracle.attempts import Attempts
from oracle.events import (
    DagRunEvent,
    End,
    Event,
    Header,
    LedgerEvent,
    NoteEvent,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.history import HistoryError, read
from oracle.invariants import Violation
from oracle.prose import process_text
from oracle.states import QUEUED, SCHEDULED, Roles, shown
from oracle.verdict import Judge, Judgement
from reports.metrics import HISTORY
from reports.records import SCHEMA, TestRecord
from reports.store import VERDICT
from reports.timeline.disturbances import Disturbances
from reports.timeline.tracks import Track, Tracker

MARKS = 5_000
"""Violations that are drawn; more are only counted, for points would cover one another."""

BINS = 400
"""Steps of time of the summary, at most; half of them are about two pixels of a phone each."""

SHORTEST = 0.001
"""Seconds of a step at first. How long a history is shows itself at its end: when its steps are
used up, each two become one of twice the length."""

TASK_INSTANCES = 20_000
"""Task instances whose details are kept; beyond that there is the summary, and who broke what."""

RUN_EVENTS = 20
"""Events of a DAG run that its task instances' tracks show."""

NOTES = 500


@dataclass
class Summary:
    """Everything in bins of time; `step` is the length of a bin in seconds.

    `states`: by state, how its number of task instances changed in each bin. `decisions`: by
    scheduler, what it scheduled and queued in each bin.
    """

    step: float = SHORTEST
    states: dict[str, list[int]] = field(default_factory=dict)
    decisions: dict[str, list[int]] = field(default_factory=dict)

    def in_state(self) -> dict[str, list[int]]:
        """Return how many task instances are in each state at each bin's end."""
        counts: dict[str, list[int]] = {}
        for state, changes in self.states.items():
            number = 0
            counts[state] = [number := number + change for change in changes]
        return counts

    def count(self, series: dict[str, list[int]], name: str, t: float, change: int = 1) -> None:
        """Count something that happened at `t` in one of the two series."""
        self.reach(t)
        series.setdefault(name, [0] * BINS)[int(max(t, 0.0) / self.step)] += change

    def reach(self, t: float) -> None:
        """Let the bins be long enough for the last to hold `t`."""
        while t / self.step >= BINS:
            self.step *= 2
            for bins in (*self.states.values(), *self.decisions.values()):
                pairs = zip(bins[::2], bins[1::2], strict=True)
                bins[:] = [*(one + other for one, other in pairs), *[0] * (BINS // 2)]


@dataclass(frozen=True)
class Survey:
    """What was found in a history; `end` is the time of its last event, seconds.

    `marks` are the violations that are drawn, each once, in order, without secrets. `left_out`
    counts the task instances of which there is no track, only the summary. `record` is the test's
    verdict.json, None where there is none. `breaks_off` says how a history ends that is not whole.
    """

    header: Header
    judgement: Judgement
    marks: tuple[Violation, ...]
    end: float
    summary: Summary
    disturbances: Disturbances
    notes: list[tuple[float, str]]
    tracks: dict[TaskInstanceKey, Track]
    left_out: int
    record: TestRecord | None
    breaks_off: str

    @property
    def violating(self) -> dict[TaskInstanceKey, list[Violation]]:
        """Return the task instances that have a violation, with their violations in order."""
        found: dict[TaskInstanceKey, list[Violation]] = {}
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
    """Collects what is drawn while a history is read for its judge; `conclude` ends it.

    Details are kept of the task instances `first`, and of those that come first beside them.
    """

    def __init__(self, header: Header, first: Set[TaskInstanceKey] = frozenset()) -> None:
        self._header = header
        self._attempts = Attempts(header)
        self._roles = Roles(header.schedulers)
        self._summary = Summary(decisions={name: [0] * BINS for name in header.schedulers})
        self._disturbances = Disturbances()
        self._notes: list[tuple[float, str]] = []
        self._violations: list[Violation] = []
        self._end = 0.0
        self._first = first
        self._room = TASK_INSTANCES - len(first)
        self._trackers: dict[TaskInstanceKey, Tracker] = {}
        self._runs: dict[tuple[str, str], list[DagRunEvent]] = defaultdict(list)
        self._members: dict[tuple[str, str], list[Tracker]] = defaultdict(list)
        self._unseen: set[int] = set()

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:
        """Take the next event, and what the judge found in it."""
        if violations and len(self._violations) < MARKS:
            self._violations.extend(violations)
        if not isinstance(event, End):
            self._end = max(self._end, event.t)
        for change in self._attempts.feed(event):
            self._take(change)

    def conclude(
        self, judgement: Judgement, record: TestRecord | None = None, breaks_off: str = ""
    ) -> Survey:
        """Return what was found, beside what the judge and the test say of it.

        Task instances with a violation come first, else it is the order of their appearance.
        """
        for change in self._attempts.finish():
            self._take(change)
        violations = (*self._violations, *judgement.violations)
        unique = {(v.t, v.ti, v.invariant): v for v in violations}
        shown_once = sorted(unique.values(), key=lambda violation: violation.t)
        marks = tuple(replace(v, message=redact(v.message), events=()) for v in shown_once)
        violating = {mark.ti for mark in marks}
        end = max(self._end, SHORTEST, *(mark.t for mark in marks))
        self._summary.reach(end)
        return Survey(
            header=self._header,
            judgement=judgement,
            marks=marks,
            end=end,
            summary=self._summary,
            disturbances=self._disturbances,
            notes=self._notes,
            tracks={
                ti: self._trackers[ti].track
                for ti in sorted(self._trackers, key=lambda ti: ti not in violating)
            },
            left_out=len(self._unseen),
            record=record,
            breaks_off=breaks_off,
        )

    def _take(self, event: Event) -> None:
        if isinstance(event, TaskInstanceEvent):
            self._count(event)
        if isinstance(event, TaskInstanceEvent | PodEvent | WorkerEvent | LedgerEvent):
            if event.ti is not None and (tracker := self._tracker(event.ti)):
                tracker.feed(event)
        elif isinstance(event, DagRunEvent):
            self._run(event)
        elif isinstance(event, NoteEvent):
            self._note(event.t, event.text)
        elif isinstance(event, ProcessEvent):
            if words := process_text(event):
                self._note(event.t, " ".join(words))
        else:
            self._disturbances.feed(event)

    def _note(self, t: float, text: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append((t, redact(text)))

    def _run(self, event: DagRunEvent) -> None:
        run = event.dag_id, event.run_id
        if len(self._runs[run]) < RUN_EVENTS:
            self._runs[run].append(event)
            for tracker in self._members[run]:
                tracker.feed(event)

    def _tracker(self, ti: TaskInstanceKey) -> Tracker | None:
        tracker = self._trackers.get(ti)
        if tracker is not None:
            return tracker
        if ti not in self._first:
            if self._room <= 0:
                self._unseen.add(hash(ti))
                return None
            self._room -= 1
        tracker = self._trackers[ti] = Tracker(ti)
        run = ti.dag_id, ti.run_id
        for event in self._runs.get(run, ()):
            tracker.feed(event)
        self._members[run].append(tracker)
        return tracker

    def _count(self, event: TaskInstanceEvent) -> None:
        summary = self._summary
        before = shown(event.old.state) if event.old else None
        after = shown(event.new.state) if event.new else None
        if before != after:
            for state, change in Counter({after: 1, before: -1}).items():
                if state is not None:
                    summary.count(summary.states, state, event.t, change)
        if self._decides(event):
            summary.count(summary.decisions, event.process, event.t)

    def _decides(self, event: TaskInstanceEvent) -> bool:
        old, new = event.old, event.new
        if old is None or new is None or self._roles.of(event.process) != "scheduler":
            return False
        moved = new.state in (SCHEDULED, QUEUED) and new.state != old.state
        return moved or (new.try_number > old.try_number and new.id == old.id)


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
    if not found.left_out or violating <= found.tracks.keys():
        return found
    header, events = _read(history)
    surveyor = Surveyor(header, violating)
    with suppress(HistoryError):
        for event in events:
            surveyor.feed(event)
    again = surveyor.conclude(found.judgement)
    return replace(found, tracks=again.tracks, left_out=again.left_out)


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
