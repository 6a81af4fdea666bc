"""The second pass over a history: counts over time of everything, details of each task instance.

What is kept is bounded: the bins by their number, the details by TASK_INSTANCES, of which those
with a violation are never left out.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from common.redaction import redact
from oracle.attempts import Attempts
from oracle.events import (
    DagRunEvent,
    Event,
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
from reports.timeline.survey import Survey
from reports.timeline.tracks import Track, Tracker

BINS = 240
"""Steps of time of the summary: about two pixels of a phone each, or five of a desktop."""

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

    step: float
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


def collect(survey: Survey) -> Collection:
    """Go through the history once more, and keep what is drawn."""
    collector = _Collector(survey)
    source = survey.source
    for event in Attempts(source.header).over(source.events()):
        collector.feed(event)
    return collector.finish()


class _Collector:
    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._collection = Collection(step=survey.end / BINS)
        self._roles = Roles(survey.source.header.schedulers)
        for name in survey.source.header.schedulers:
            self._collection.decisions[name] = [0] * BINS
        self._violating = survey.violating
        self._room = TASK_INSTANCES - len(self._violating)
        self._trackers: dict[TaskInstanceKey, Tracker] = {}
        self._runs: dict[tuple[str, str], list[DagRunEvent]] = defaultdict(list)
        self._members: dict[tuple[str, str], list[Tracker]] = defaultdict(list)
        self._unseen: set[int] = set()

    def feed(self, event: Event) -> None:
        """Take the next event."""
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

    def finish(self) -> Collection:
        """Give the whole, those with a violation first, else in order of appearance."""
        ordered = sorted(self._trackers, key=lambda ti: ti not in self._violating)
        self._collection.tracks = {ti: self._trackers[ti].track for ti in ordered}
        self._collection.left_out = len(self._unseen)
        return self._collection

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
        if ti not in self._violating:
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
        place = self._bin(event.t)
        before = shown(event.old.state) if event.old else None
        after = shown(event.new.state) if event.new else None
        if before != after:
            changes = Counter({after: 1})
            changes[before] -= 1
            for state, change in changes.items():
                if state is not None:
                    self._collection.states.setdefault(state, [0] * BINS)[place] += change
        if self._decides(event):
            self._collection.decisions.setdefault(event.process, [0] * BINS)[place] += 1

    def _decides(self, event: TaskInstanceEvent) -> bool:
        old, new = event.old, event.new
        if old is None or new is None or self._roles.of(event.process) != "scheduler":
            return False
        moved = new.state in (SCHEDULED, QUEUED) and new.state != old.state
        return moved or (new.try_number > old.try_number and new.id == old.id)

    def _bin(self, t: float) -> int:
        return min(max(int(t / self._collection.step), 0), BINS - 1)
