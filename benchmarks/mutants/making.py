"""What ways of breaking a promise share: the places of a history, and how it is put together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from msgspec import structs

from oracle.events import (
    DagRunEvent,
    End,
    Event,
    Row,
    RowModel,
    TaskInstanceEvent,
)
from oracle.invariants import no_lost_task

Events = Sequence[Event]
Mutants = Iterator[list[Event]]
Make = Callable[[Events], Mutants]

OTHER = "scheduler-2"
LATER = 1e-4

_FRESH = 1 << 40
"""Above every transaction id of a short history: what is put in is of a transaction of its own."""


@dataclass(frozen=True)
class Way:
    """One way of breaking a promise: every place of a history at which it can be broken so.

    `model` is what a row must be for it to be one, None where that does not matter.
    """

    promise: str
    name: str
    mutants: Make
    model: RowModel | None = None


def after(events: Events, place: int, *more: Event, wait: float = LATER) -> list[Event]:
    """Put events in, `wait` seconds behind the one at a place, each in a transaction of its own.

    Those that have the same xid are of one transaction.
    """
    at = events[place].t + wait
    while place + 1 < len(events) and events[place + 1].t <= at:
        place += 1
    return [*events[: place + 1], *(_fresh(each, at) for each in more), *events[place + 1 :]]


def among(events: Events, *more: Event) -> list[Event]:
    """Put events in, each where it belongs by its own time."""
    made = list(events)
    for event in more:
        place = next((n for n, each in enumerate(made) if each.t > event.t), len(made))
        made.insert(place, event)
    return made


def _fresh(event: Event, t: float) -> Event:
    xid = getattr(event, "xid", None)
    if xid is None:
        return structs.replace(event, t=t)
    return cast(Event, structs.replace(cast(Any, event), t=t, xid=_FRESH + xid))


def instead(events: Events, place: int, *others: Event) -> list[Event]:
    """Put other events, or none, in the place of one."""
    return [*events[:place], *others, *events[place + 1 :]]


def moves(
    events: Events, old: str | None, new: str | None
) -> Iterator[tuple[int, TaskInstanceEvent, Row]]:
    """Give the places where a task instance goes from one state to another."""
    for place, event in enumerate(events):
        if (
            isinstance(event, TaskInstanceEvent)
            and event.old is not None
            and event.new is not None
            and (event.old.state, event.new.state) == (old, new)
            and not event.new.archived
        ):
            yield place, event, event.new


def runs(events: Events, *states: str) -> Iterator[tuple[int, DagRunEvent]]:
    """Give the places where a scheduler brings a run into one of these states."""
    for place, event in enumerate(events):
        if isinstance(event, DagRunEvent) and event.new in states and "scheduler" in event.process:
            yield place, event


def and_then_nothing(events: Events) -> list[Event]:
    """Let nothing move any more for longer than anything may be left lying."""
    rest = [event for event in events if not isinstance(event, End)]
    last = max(event.t for event in rest)
    return [*rest, End(last + 2 * no_lost_task.BOUND_SECONDS, len(rest))]


def another(run: DagRunEvent, **changes: Any) -> DagRunEvent:
    """Return how another run of the same DAG is made, in the state that this change leads to."""
    twin: dict[str, Any] = {"op": "insert", "old": None, "run_id": "twin", "row": -1}
    return structs.replace(run, **(twin | changes))


def step(event: TaskInstanceEvent, process: str = OTHER, **changes: object) -> TaskInstanceEvent:
    """Return the change of a row that comes after this one, with other values in some columns."""
    assert event.new is not None
    row = structs.replace(event.new, **changes)
    return structs.replace(
        event, op="update", old=event.new, new=row, process=process, xid=event.xid + 1
    )


def changed(event: TaskInstanceEvent, process: str = "", **changes: object) -> TaskInstanceEvent:
    """Return the same change of a row, but to other values."""
    assert event.new is not None
    row = structs.replace(event.new, **changes)
    return structs.replace(event, new=row, process=process or event.process)


def until_next(events: Events, place: int, event: TaskInstanceEvent) -> float:
    """Return how many seconds a row stays as this event at a place leaves it."""
    for later in events[place + 1 :]:
        if isinstance(later, TaskInstanceEvent) and later.ti == event.ti:
            return later.t - event.t
    return events[-1].t - event.t
