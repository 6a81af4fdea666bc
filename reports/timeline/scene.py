"""A witness as a scene: who stands in which column, and what becomes of the row meanwhile.

The row stands in the middle, between the first process and the others, as what they contend for;
pods stand to the right. Time goes down, one step a line.
"""

from dataclasses import dataclass

from oracle.events import FaultEvent, HoldEvent, TaskInstanceEvent
from oracle.memory import Story
from oracle.states import Roles, shown
from reports.timeline.choice import Step, steps

ROW = "database row"

LABEL = 22
"""Characters of a name beside a lane or over a column."""

_END = 6
"""Characters of its end that are kept, where the names of a deployment's pods differ."""


def shortened(name: str, whole: str = "", most: int = LABEL) -> str:
    """Cut the middle out of a name that is too long; `whole` is shown instead where it fits."""
    shown_ = whole or name
    if len(shown_) <= most:
        return shown_
    return name if len(name) <= most else f"{name[: most - _END - 1]}…{name[-_END:]}"


@dataclass(frozen=True)
class Line:
    """A step with its place: `column` of its actor, the row's state and try after it.

    `changed` says whether the row was otherwise a line above.

    `held` are the columns whose process a fault strikes, or a gate holds, until this step.
    """

    step: Step
    t: float
    column: int
    state: str
    try_number: int | None
    changed: bool
    held: frozenset[int]


@dataclass(frozen=True)
class Scene:
    """Columns from left to right, and lines from top to bottom; times are from the first step."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def row(self) -> int:
        """Return the column of the database row."""
        return self.columns.index(ROW)


def stage(story: Story) -> Scene:
    """Set a story in scene."""
    told = steps(story)
    actors = list(dict.fromkeys(_actor(step) for step in told))
    pods = [actor for actor in actors if actor.startswith("pod ")]
    processes = sorted((actor for actor in actors if actor not in pods), key=_order)
    columns = (*processes[:1], ROW, *processes[1:], *pods)
    return Scene(str(story.ti), columns, tuple(_lines(story, told, columns)))


def _order(process: str) -> tuple[bool, str]:
    """Order processes: schedulers first, for it is mostly they who contend."""
    return Roles(()).of(process) != "scheduler", process


def _actor(step: Step) -> str:
    """Return in whose column a step stands: a fault stands with the process that it strikes."""
    if isinstance(step.event, FaultEvent) and step.event.process:
        return step.event.process
    return step.who


def _lines(story: Story, told: list[Step], columns: tuple[str, ...]) -> list[Line]:
    """Place the steps; a process that changes a row was let through its gate, told or not."""
    state, try_number = _before(story, told)
    begun = told[0].event.t if told else 0.0
    held = _held_from_the_start(told, columns)
    gates: set[tuple[int, str]] = set()
    lines: list[Line] = []
    for step in told:
        event = step.event
        column = columns.index(_actor(step))
        if isinstance(event, TaskInstanceEvent) and event.new is not None:
            state, try_number = shown(event.new.state), event.new.try_number
        row = state, try_number
        changed = not lines or row != (lines[-1].state, lines[-1].try_number)
        still = frozenset(stopped for stopped, _ in held)
        lines.append(Line(step, event.t - begun, column, *row, changed, still))
        if isinstance(event, HoldEvent | FaultEvent):
            stop = column, event.name
            (held.add if event.op in ("held", "begin") else held.discard)(stop)
            gates.update({stop} if isinstance(event, HoldEvent) else ())
        elif isinstance(event, TaskInstanceEvent):
            held -= {stop for stop in gates if stop[0] == column}
    return lines


def _held_from_the_start(told: list[Step], columns: tuple[str, ...]) -> set[tuple[int, str]]:
    """Find who is let go in this piece, and from what, without having been stopped in it."""
    seen: set[tuple[int, str]] = set()
    held: set[tuple[int, str]] = set()
    for step in told:
        if isinstance(step.event, HoldEvent | FaultEvent):
            stop = columns.index(_actor(step)), step.event.name
            if stop not in seen and step.event.op in ("release", "end"):
                held.add(stop)
            seen.add(stop)
    return held


def _before(story: Story, told: list[Step]) -> tuple[str, int | None]:
    """Return the row's state and try before the first step that changes it."""
    first = next((s.event for s in told if isinstance(s.event, TaskInstanceEvent)), None)
    if isinstance(first, TaskInstanceEvent) and first.old is not None:
        return shown(first.old.state), first.old.try_number
    begun = told[0].event.t if told else 0.0
    state: tuple[str, int | None] = ("", None)
    for event in story.events:
        if isinstance(event, TaskInstanceEvent) and event.new is not None and event.t <= begun:
            state = shown(event.new.state), event.new.try_number
    return state
