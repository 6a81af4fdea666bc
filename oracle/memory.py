"""Remembers just enough of a history to tell, later, how a violation came about."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from oracle.events import DagRunEvent, Event, FaultEvent, HoldEvent, ProcessEvent, TaskInstanceKey
from oracle.invariants import Violation

RING = 30
"""Events kept of a task instance that is fine so far; a healthy try has about eight."""

REMEMBERED = 5_000
"""Task instances remembered at a time; those that were quiet the longest are forgotten first."""

STORIES = 200
"""Task instances whose violations are kept whole; the others only count."""

SEQUEL = 40
"""Events kept after the first violation: what came of it belongs to the story."""


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
        """Put the runs that a violation names into their places: no ring has them."""
        runs = [event for event in events if isinstance(event, DagRunEvent)]
        if runs:
            self.events = sorted([*self.events, *runs], key=lambda event: event.t)


class Memory:
    """A ring of events for each task instance, and the stories of those with a violation."""

    def __init__(self) -> None:
        self.stories: dict[TaskInstanceKey, Story] = {}
        self._rings: OrderedDict[TaskInstanceKey, deque[Event]] = OrderedDict()
        self._disturbances: deque[FaultEvent | HoldEvent | ProcessEvent] = deque(maxlen=RING)

    def keep(self, event: Event) -> None:
        """Remember an event under the task instance that it is about."""
        ti: TaskInstanceKey | None = getattr(event, "ti", None)
        if ti is None:
            if isinstance(event, FaultEvent | HoldEvent | ProcessEvent):
                self._disturbances.append(event)
            return
        if self.stories and (story := self.stories.get(ti)):
            story.add(event)
            return
        ring = self._rings.get(ti)
        if ring is None:
            ring = self._rings[ti] = deque(maxlen=RING)
            if len(self._rings) > REMEMBERED:
                self._rings.popitem(last=False)
        else:
            self._rings.move_to_end(ti)
        ring.append(event)

    def note(self, violation: Violation) -> tuple[Event, ...]:
        """Add a violation to its task instance's story; return what is known of it so far."""
        ti = violation.ti
        if ti is None:
            return violation.events
        story = self.stories.get(ti)
        if story is None:
            ring = list(self._rings.get(ti, ())) or list(violation.events)
            if not ring or len(self.stories) >= STORIES:
                return tuple(ring)
            story = self.stories[ti] = Story(ti, ring, tuple(self._disturbances))
        story.violations.append(violation)
        story.recall(violation.events)
        return tuple(story.events)
