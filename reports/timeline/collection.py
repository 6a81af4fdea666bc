"""Collects what is drawn of a history: counts over time of everything, details of task instances.

What is kept is bounded: the steps of time by their number, the details by TASK_INSTANCES.
"""

from collections import Counter, defaultdict
from collections.abc import Set
from dataclasses import dataclass, field

from common.redaction import redact
from oracle.attempts import Attempts
from oracle.events import (
    DagRunEvent,
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
from oracle.prose import process_text
from oracle.states import QUEUED, SCHEDULED, Roles, shown
from reports.timeline.disturbances import Disturbances
from reports.timeline.tracks import Track, Tracker

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
class Collection:
    """What is drawn of a history; `step` is the length of a bin in seconds.

    `states`: by state, how its number of task instances changed in each bin. `decisions`: by
    scheduler, what it scheduled and queued in each bin. `left_out` counts the task instances
    without details.
    """

    step: float = SHORTEST
    states: dict[str, list[int]] = field(default_factory=dict)
    decisions: dict[str, list[int]] = field(default_factory=dict)
    disturbances: Disturbances = field(default_factory=Disturbances)
    notes: list[tuple[float, str]] = field(default_factory=list)
    tracks: dict[TaskInstanceKey, Track] = field(default_factory=dict)
    left_out: int = 0

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


class Collector:
    """Collects from the events that it is fed, in order.

    Details are kept of the task instances `first`, and of those that come first beside them.
    """

    def __init__(self, header: Header, first: Set[TaskInstanceKey] = frozenset()) -> None:
        self._collection = Collection(decisions={name: [0] * BINS for name in header.schedulers})
        self._attempts = Attempts(header)
        self._roles = Roles(header.schedulers)
        self._first = first
        self._room = TASK_INSTANCES - len(first)
        self._trackers: dict[TaskInstanceKey, Tracker] = {}
        self._runs: dict[tuple[str, str], list[DagRunEvent]] = defaultdict(list)
        self._members: dict[tuple[str, str], list[Tracker]] = defaultdict(list)
        self._unseen: set[int] = set()

    def feed(self, event: Event) -> None:
        """Take the next event."""
        for change in self._attempts.feed(event):
            self._take(change)

    def finish(self, violating: Set[TaskInstanceKey], end: float) -> Collection:
        """Give the whole up to `end`, the `violating` ones first, else in order of appearance."""
        for change in self._attempts.finish():
            self._take(change)
        ordered = sorted(self._trackers, key=lambda ti: ti not in violating)
        self._collection.tracks = {ti: self._trackers[ti].track for ti in ordered}
        self._collection.left_out = len(self._unseen)
        self._collection.reach(end)
        return self._collection

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
            if told := process_text(event):
                self._note(event.t, " ".join(told))
        else:
            self._collection.disturbances.feed(event)

    def _note(self, t: float, text: str) -> None:
        if len(self._collection.notes) < NOTES:
            self._collection.notes.append((t, redact(text)))

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
        collection = self._collection
        before = shown(event.old.state) if event.old else None
        after = shown(event.new.state) if event.new else None
        if before != after:
            for state, change in Counter({after: 1, before: -1}).items():
                if state is not None:
                    collection.count(collection.states, state, event.t, change)
        if self._decides(event):
            collection.count(collection.decisions, event.process, event.t)

    def _decides(self, event: TaskInstanceEvent) -> bool:
        old, new = event.old, event.new
        if old is None or new is None or self._roles.of(event.process) != "scheduler":
            return False
        moved = new.state in (SCHEDULED, QUEUED) and new.state != old.state
        return moved or (new.try_number > old.try_number and new.id == old.id)
