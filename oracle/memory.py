"""Remembers just enough of a history to tell, later, how a violation came about."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from oracle.events import (
    AnswerEvent,
    ArchivedEvent,
    DagRunEvent,
    Event,
    FaultEvent,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    RowEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.invariants import Violation

LATEST = 60_000
"""Events remembered from one violation to the next: some 5,000 task instances have so many."""

RING = 30
"""Events kept of a task instance that is fine so far; a healthy try has about eight."""

REMEMBERED = 5_000
"""Task instances remembered at a time; those that were quiet the longest are forgotten first."""

STORIES = 200
"""Task instances whose violations are kept whole; the others only count."""

SEQUEL = 40
"""Events kept after the first violation: what came of it belongs to the story."""

_OfTask = TaskInstanceEvent | ArchivedEvent | PodEvent | WorkerEvent | LedgerEvent | AnswerEvent
"""Events that are about a task instance."""


@dataclass
class Story:
    """What is known of a task instance that has a violation: before it, and after."""

    ti: TaskInstanceKey
    events: list[Event]
    disturbances: tuple[FaultEvent | HoldEvent | ProcessEvent, ...]
    violations: list[Violation] = field(default_factory=list)
    room: int = SEQUEL

    def add(self, event: Event) -> None:
        """Keep an event that came after the violation, while there is room."""
        if self.room > 0:
            self.events.append(event)
            self.room -= 1

    def recall(self, events: Iterable[Event]) -> None:
        """Put the runs and other rows of a violation into their places: no ring has them."""
        rows = [event for event in events if isinstance(event, DagRunEvent | RowEvent)]
        if rows:
            self.events = sorted([*self.events, *rows], key=lambda event: event.t)


class Memory:
    """The latest events, and the stories of the task instances with a violation.

    As long as nothing is wrong, events only pass by. A violation has those that passed since the
    last one sorted into rings, one a task instance; what comes after it of the same task instance
    is put into its story. Where `latest` can give once more what passed, none of it is kept.
    """

    def __init__(self, latest: Callable[[], Iterable[Event]] | None = None) -> None:
        self.stories: dict[TaskInstanceKey, Story] = {}
        self._latest = latest
        self._passed: deque[_OfTask] = deque(maxlen=LATEST)
        self._rings: OrderedDict[TaskInstanceKey, deque[Event]] = OrderedDict()
        self._disturbances: deque[FaultEvent | HoldEvent | ProcessEvent] = deque(maxlen=RING)

    def keeper(self, kind: type) -> Callable[[Any], None] | None:
        """Give what remembers events of a kind, if they are; ask anew when there is a story."""
        if issubclass(kind, FaultEvent | HoldEvent | ProcessEvent):
            return self._disturbances.append
        if kind not in get_args(_OfTask):
            return None
        if self._latest is None:
            return self._keep
        return self._go_on if self.stories else None

    def keep(self, event: Event) -> None:
        """Remember one event."""
        if keep := self.keeper(type(event)):
            keep(event)

    def note(self, violation: Violation) -> tuple[Event, ...]:
        """Add a violation to its task instance's story; return what is known of it so far."""
        ti = violation.ti
        if ti is None:
            return self._with_holds(violation.events)
        self._sort(self._passed if self._latest is None else self._latest())
        self._passed.clear()
        story = self.stories.get(ti)
        if story is None:
            ring = list(self._rings.get(ti, ())) or list(violation.events)
            if not ring or len(self.stories) >= STORIES:
                return tuple(ring)
            story = self.stories[ti] = Story(ti, ring, tuple(self._disturbances))
        story.violations.append(violation)
        story.recall(violation.events)
        return tuple(story.events)

    def _with_holds(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Put the holds into their places that kept the processes of these events."""
        processes = {getattr(event, "process", "") for event in events}
        holds = [
            each
            for each in self._disturbances
            if isinstance(each, HoldEvent) and each.op != "hold" and each.process in processes
        ]
        return tuple(sorted([*holds, *events], key=lambda event: event.t))

    def _keep(self, event: _OfTask) -> None:
        if self._of(event) is None:
            self._passed.append(event)
        else:
            self._go_on(event)

    def _go_on(self, event: _OfTask) -> None:
        if (story := self._of(event)) and _tells(event):
            story.add(event)

    def _of(self, event: _OfTask) -> Story | None:
        return self.stories.get(event.ti) if self.stories and event.ti is not None else None

    def _sort(self, passed: Iterable[Event]) -> None:
        for event in passed:
            ti: TaskInstanceKey | None = getattr(event, "ti", None)
            if ti is None or ti in self.stories or not _tells(event):
                continue
            ring = self._rings.get(ti)
            if ring is None:
                ring = self._rings[ti] = deque(maxlen=RING)
                if len(self._rings) > REMEMBERED:
                    self._rings.popitem(last=False)
            else:
                self._rings.move_to_end(ti)
            ring.append(event)


def _tells(event: Event) -> bool:
    return not isinstance(event, AnswerEvent) or event.tells
