"""A witness as a scene: which deeds tell it, who stands in which column, what becomes of the row.

The oracle chooses the violation and the events that tell it. The row stands in the middle, between
the first process and the others, as what they contend for; pods stand to the right. Time goes down,
one deed a line.
"""

from dataclasses import dataclass

from common.redaction import redact
from oracle.events import Event, FaultEvent, HoldEvent, TaskInstanceEvent
from oracle.memory import Story
from oracle.prose import Narrator
from oracle.states import Roles, shown
from oracle.verdict import Judgement
from oracle.witness import piece_of, rank, weight

DEEDS = 13
"""Deeds of a picture; more of them would be too small to read."""

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
class Deed:
    """One event of a witness in words; `broke` names the promises that it broke."""

    event: Event
    who: str
    what: str
    broke: tuple[str, ...]


def chosen(judgement: Judgement) -> Story | None:
    """Return the story that the witness tells; None if no task instance has a violation."""
    return min(judgement.stories, key=weight, default=None)


def deeds(story: Story) -> list[Deed]:
    """Return the deeds that lead to the broken promise, the lesser ones left out if need be."""
    narrator = Narrator()
    acts = [(event, *words) for event in piece_of(story) if (words := narrator.text(event))]
    last = {violation.t: -1 for violation in story.violations}
    for place, (event, _, _) in enumerate(acts):
        if event.t in last:
            last[event.t] = place
    found = [
        Deed(event, who, redact(what), _broken(story, event) if place in last.values() else ())
        for place, (event, who, what) in enumerate(acts)
    ]
    order = sorted(range(len(found)), key=lambda i: (not found[i].broke, rank(found[i].event), i))
    return [found[place] for place in sorted(order[:DEEDS])]


def _broken(story: Story, event: Event) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v.invariant for v in story.violations if v.t == event.t))


@dataclass(frozen=True)
class PlacedDeed:
    """A deed with its place: `column` of its actor, the row's state and try after it.

    `changed` says whether the row was otherwise a line above.

    `held` are the columns whose process a fault strikes, or a hold keeps, until this deed.
    """

    deed: Deed
    t: float
    column: int
    state: str
    try_number: int | None
    changed: bool
    held: frozenset[int]


@dataclass(frozen=True)
class Scene:
    """Columns from left to right, and lines from top to bottom; times are from the first deed."""

    columns: tuple[str, ...]
    lines: tuple[PlacedDeed, ...]

    @property
    def row(self) -> int:
        """Return the column of the database row."""
        return self.columns.index(ROW)


def stage(story: Story) -> Scene:
    """Set a story in scene."""
    acts = deeds(story)
    actors = list(dict.fromkeys(_actor(deed) for deed in acts))
    pods = [actor for actor in actors if actor.startswith("pod ")]
    processes = sorted((actor for actor in actors if actor not in pods), key=_order)
    columns = (*processes[:1], ROW, *processes[1:], *pods)
    return Scene(columns, tuple(_lines(story, acts, columns)))


def _order(process: str) -> tuple[bool, str]:
    """Order processes: schedulers first, for it is mostly they who contend."""
    return Roles(()).of(process) != "scheduler", process


def _actor(deed: Deed) -> str:
    """Return in whose column a deed stands: a fault stands with the process that it strikes."""
    if isinstance(deed.event, FaultEvent) and deed.event.process:
        return deed.event.process
    return deed.who


def _lines(story: Story, acts: list[Deed], columns: tuple[str, ...]) -> list[PlacedDeed]:
    """Place the deeds; a process that changes a row was let through its hold, told or not."""
    state, try_number = _before(story, acts)
    begun = acts[0].event.t if acts else 0.0
    held = _held_from_the_start(acts, columns)
    holds: set[tuple[int, str]] = set()
    lines: list[PlacedDeed] = []
    for deed in acts:
        event = deed.event
        column = columns.index(_actor(deed))
        if isinstance(event, TaskInstanceEvent) and event.new is not None:
            state, try_number = shown(event.new.state), event.new.try_number
        row = state, try_number
        changed = not lines or row != (lines[-1].state, lines[-1].try_number)
        still = frozenset(stopped for stopped, _ in held)
        lines.append(PlacedDeed(deed, event.t - begun, column, *row, changed, still))
        if isinstance(event, HoldEvent | FaultEvent):
            stop = column, event.name
            (held.add if event.op in ("held", "begin") else held.discard)(stop)
            holds.update({stop} if isinstance(event, HoldEvent) else ())
        elif isinstance(event, TaskInstanceEvent):
            held -= {stop for stop in holds if stop[0] == column}
    return lines


def _held_from_the_start(acts: list[Deed], columns: tuple[str, ...]) -> set[tuple[int, str]]:
    """Find who is let go in this piece, and from what, without having been stopped in it."""
    seen: set[tuple[int, str]] = set()
    held: set[tuple[int, str]] = set()
    for deed in acts:
        if isinstance(deed.event, HoldEvent | FaultEvent):
            stop = columns.index(_actor(deed)), deed.event.name
            if stop not in seen and deed.event.op in ("release", "end"):
                held.add(stop)
            seen.add(stop)
    return held


def _before(story: Story, acts: list[Deed]) -> tuple[str, int | None]:
    """Return the row's state and try before the first deed that changes it."""
    first = next((s.event for s in acts if isinstance(s.event, TaskInstanceEvent)), None)
    if isinstance(first, TaskInstanceEvent) and first.old is not None:
        return shown(first.old.state), first.old.try_number
    begun = acts[0].event.t if acts else 0.0
    state: tuple[str, int | None] = ("", None)
    for event in story.events:
        if isinstance(event, TaskInstanceEvent) and event.new is not None and event.t <= begun:
            state = shown(event.new.state), event.new.try_number
    return state
