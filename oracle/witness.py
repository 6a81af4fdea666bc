"""Tells the shortest piece of a history that shows a violation, so that a person believes it."""

from collections.abc import Iterable, Sequence

from oracle.events import (
    Event,
    FaultEvent,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.invariants import Violation
from oracle.invariants.asset_condition_met import AssetConditionMet
from oracle.invariants.asset_events_consumed import AssetEventsConsumed
from oracle.invariants.called_back_once import CalledBackOnce
from oracle.invariants.max_active_runs import MaxActiveRuns
from oracle.invariants.no_crash import NoCrash
from oracle.invariants.run_ends_once import RunEndsOnce
from oracle.invariants.stops_in_time import StopsInTime
from oracle.memory import Story
from oracle.prose import Narrator, fault_text
from oracle.verdict import Judgement

LINES = 11
"""Lines of deeds and lasting faults; with what is above and below, a witness has 15 at most."""

TWO_TRIES = frozenset({"single-live-pod", "executed-once"})
"""Broken by two tries together, so that the story begins with the earlier of them."""

OF_NONE = (
    *(NoCrash.name, StopsInTime.name, MaxActiveRuns.name, RunEndsOnce.name, CalledBackOnce.name),
    *(AssetEventsConsumed.name, AssetConditionMet.name),
)
"""Promises about processes, runs and assets; no task instance's story tells of them."""

BY_SILENCE = frozenset({"no-lost-task"})
"""Broken by what did not happen after the last move of a row; what was seen of the task after that
(its code completed, its pod ended) is what explains it."""


def text(judgement: Judgement) -> str:
    """Tell one task instance's violation: the one that breaks most promises in fewest events.

    Gives an empty string if the history has no violation.
    """
    if not judgement.violations:
        return ""
    where = f"Airflow {judgement.header.airflow}, {judgement.header.lab}"
    if not judgement.stories:
        first = judgement.violations[0]
        lines = _timeline(first.events, {first.t}, LINES)
        told = f"{first.invariant}: {first.message}."
        others = (line for line in _of_none(judgement) if line != told)
        return "\n".join([where, *lines, told, *others]) + "\n"
    story = min(judgement.stories, key=weight)
    return "\n".join([f"{where}: {story.ti}", *_story(story), *_of_none(judgement)]) + "\n"


def _of_none(judgement: Judgement) -> Iterable[str]:
    """Tell the first violation of each promise that is about no task instance."""
    for name in OF_NONE:
        of_none = (v for v in judgement.violations if v.invariant == name and v.ti is None)
        if found := next(of_none, None):
            yield f"{found.invariant}: {found.message}."


def weight(story: Story) -> tuple[int, int]:
    """Order stories by how well they tell: the lightest breaks most promises in fewest events."""
    return -len({v.invariant for v in story.violations}), len(piece_of(story))


def _story(story: Story) -> Iterable[str]:
    piece = piece_of(story)
    lasting = _faults_on(story, piece[0].t)
    for fault in lasting:
        yield f"  while {fault_text(fault)}"
    violations = sorted(story.violations, key=lambda v: v.t)
    yield from _timeline(piece, {violation.t for violation in violations}, LINES - len(lasting))
    yield f"{violations[0].invariant}: {violations[0].message}."
    others = dict.fromkeys(v.invariant for v in violations)
    del others[violations[0].invariant]
    if others:
        yield f"Also broken: {', '.join(others)}."


def piece_of(story: Story) -> list[Event]:
    """Cut the story down to what leads from the last sound try to the last broken promise."""
    first = min(story.violations, key=lambda v: v.t)
    last = max({v.invariant: v for v in reversed(story.violations)}.values(), key=lambda v: v.t)
    events = story.events
    begin = _beginning(events, first)
    until = float("inf") if last.invariant in BY_SILENCE else last.t
    end = max((i for i, event in enumerate(events) if event.t <= until), default=len(events) - 1)
    piece = events[begin : end + 1]
    if not piece:
        return events[-LINES:]
    piece = sorted([*_holds(story.disturbances, piece, first), *piece], key=lambda event: event.t)
    since = (FaultEvent, ProcessEvent)
    others = [e for e in story.disturbances if isinstance(e, since) and e.t >= piece[0].t]
    return sorted([*others, *piece], key=lambda event: event.t)


def _beginning(events: Sequence[Event], first: Violation) -> int:
    """Find where the last sound try before the violation was scheduled."""
    begun = [i for i, event in enumerate(events) if event.t < first.t and _begins_a_try(event)]
    if not begun:
        return 0
    back = 2 if first.invariant in TWO_TRIES else 1
    return begun[max(-back, -len(begun))]


def _begins_a_try(event: Event) -> bool:
    return (
        isinstance(event, TaskInstanceEvent)
        and event.old is not None
        and event.new is not None
        and event.new.try_number > event.old.try_number
    )


def _holds(disturbances: Iterable[Event], piece: Sequence[Event], first: Violation) -> list[Event]:
    """Take the hold that a process of this piece was held by when the violation came about."""
    processes = {event.process for event in piece if isinstance(event, TaskInstanceEvent)}
    held: dict[str, list[Event]] = {}
    for event in disturbances:
        if isinstance(event, HoldEvent) and event.process in processes and event.t <= first.t:
            if event.op == "held":
                held[event.process] = [event]
            elif event.op != "hold" and event.process in held:
                held[event.process].append(event)
    return [event for events in held.values() for event in events]


def _faults_on(story: Story, start: float) -> list[FaultEvent]:
    """Find the faults that were on when the piece begins, and had not ended by the violation."""
    on: dict[tuple[str, str | None], FaultEvent] = {}
    for event in story.disturbances:
        if isinstance(event, FaultEvent):
            on[event.name, event.process] = event
    return [event for event in on.values() if event.op == "begin" and event.t < start]


def _timeline(events: Sequence[Event], broke_at: set[float], most: int) -> Iterable[str]:
    narrator = Narrator()
    lines: list[tuple[int, float, str, str]] = []
    for event in events:
        if words := narrator.text(event):
            lines.append((-1 if event.t in broke_at else rank(event), event.t, *words))
    left_out = len(lines) - most
    if left_out > 0:
        spared = sorted(range(len(lines)), key=lambda i: (lines[i][0], i))[:most]
        lines = [lines[i] for i in sorted(spared)]
    width = max((len(who) for _, _, who, _ in lines), default=0)
    for _, t, who, what in lines:
        yield f"  {t - events[0].t:7.3f} s  {who:<{width}}  {what}"
    if left_out > 0:
        yield f"  ({left_out} lesser event{'s' if left_out > 1 else ''} left out)"


def rank(event: Event) -> int:
    """Say how much a story needs an event; the less, the more."""
    if isinstance(event, TaskInstanceEvent):
        return 0 if event.old and event.new and event.old.state != event.new.state else 1
    if isinstance(event, PodEvent):
        return 0 if event.op == "added" else 3
    if isinstance(event, WorkerEvent):
        return 0 if event.refused else 2
    soon = HoldEvent | FaultEvent | ProcessEvent | LedgerEvent
    return 1 if isinstance(event, soon) else 2
