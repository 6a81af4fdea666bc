"""Ways of breaking what is promised of what is never left lying."""

from collections.abc import Callable, Collection

from msgspec import structs

from benchmarks.mutants.making import Events, Make, Mutants, Way, and_then_nothing, moves, runs
from oracle.events import (
    AssumptionEvent,
    DagRunEvent,
    Event,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
)
from oracle.invariants import queued_in_time
from oracle.states import QUEUED, RUN_FINISHED, RUNNING, SCHEDULED

Run = tuple[str, str]


def _run_of(event: Event) -> Run | None:
    """Return the run that an event is about, or whose task instance."""
    about = event if isinstance(event, DagRunEvent) else getattr(event, "ti", None)
    return None if about is None else (about.dag_id, about.run_id)


def _standing_still(events: Events, place: int, run: Run) -> set[Run]:
    """Return a run and those of its DAG that begin later, for which it may have to make room."""
    later = {
        (each.dag_id, each.run_id)
        for each in events[place:]
        if isinstance(each, DagRunEvent) and (each.dag_id, each.new) == (run[0], RUNNING)
    }
    return {run, *later}


def _moves_on(event: Event, still: set[Run]) -> bool:
    """Tell whether an event comes though some runs stand still; they are made none the less."""
    is_made = isinstance(event, DagRunEvent) and event.op == "insert"
    return is_made or _run_of(event) not in still


def _ends(event: Event) -> bool:
    return isinstance(event, DagRunEvent) and event.new in RUN_FINISHED


def _left(old: str | None, new: str | None, *told: type) -> Make:
    """Leave a run as it is when a task instance came from one state to another.

    Of what becomes of it only the kinds of events are told that are named, and of known pods.
    """

    def mutants(events: Events) -> Mutants:
        for place, left, _ in moves(events, old, new):
            still = _standing_still(events, place, (left.ti.dag_id, left.ti.run_id))
            known = {each.name for each in events[:place] if isinstance(each, PodEvent)}
            rest = [
                each
                for each in events[place + 1 :]
                if _moves_on(each, still) or (isinstance(each, told) and _pod_of(each) in known)
            ]
            yield and_then_nothing([*events[: place + 1], *rest])

    return mutants


def _pod_of(event: Event) -> str | None:
    if isinstance(event, PodEvent):
        return event.name
    return event.pod if isinstance(event, LedgerEvent) else None


def _run_left(is_next: Callable[[DagRunEvent], bool]) -> Make:
    """Leave a run as it was before something became of it."""

    def mutants(events: Events) -> Mutants:
        for place, event in enumerate(events):
            if isinstance(event, DagRunEvent) and is_next(event):
                still = _standing_still(events, place, (event.dag_id, event.run_id))
                rest = [each for each in events[place:] if _moves_on(each, still)]
                yield and_then_nothing([*events[:place], *rest])

    return mutants


def _not_queued(*which: int, whole_run: bool = False, late: bool = False) -> Make:
    """State that schedulers are free, and leave task instances scheduled.

    One for ever, all of its run, or one until the history ends.
    """

    def mutants(events: Events) -> Mutants:
        schedulers = sorted({event.process for _, event in runs(events, RUNNING)})
        free = [schedulers[n] for n in which if n < len(schedulers)]
        stated = [
            AssumptionEvent(events[0].t, f"{queued_in_time.FREE}{name}", True) for name in free
        ]
        for place, event, _ in moves(events, None, SCHEDULED):
            if not _begin_enough(events, event.t, free):
                continue
            run = (event.ti.dag_id, event.ti.run_id)
            gone: list[Event] = []
            kept: list[Event] = []
            for each in events[place + 1 :]:
                mine = _run_of(each) == run if whole_run else getattr(each, "ti", None) == event.ti
                ended = _ends(each) and _run_of(each) == run
                (gone if mine or ended else kept).append(each)
            queued = [e for e in gone if isinstance(e, TaskInstanceEvent) and _is_queued(e)][:1]
            last = events[-1].t
            more = [structs.replace(each, t=last) for each in queued] if late else []
            yield [*stated, *events[: place + 1], *kept[:-1], *more, kept[-1]]

    return mutants


def _is_queued(event: TaskInstanceEvent) -> bool:
    return event.new is not None and event.new.state == QUEUED


def _begin_enough(events: Events, since: float, free: Collection[str]) -> bool:
    """Tell whether a free scheduler begins runs for long enough afterwards."""
    for name in free:
        times = sorted(
            {
                e.t
                for e in events
                if isinstance(e, DagRunEvent)
                and (e.new, e.process) == (RUNNING, name)
                and e.t > since
            }
        )
        enough = len(times) >= queued_in_time.BEGUN_RUNS
        if enough and times[-2] - times[0] >= queued_in_time.BOUND_SECONDS:
            return True
    return False


WAYS = (
    Way("no-lost-task", "left SCHEDULED", _left(None, SCHEDULED)),
    Way("no-lost-task", "left QUEUED, its pod ends", _left(SCHEDULED, QUEUED, PodEvent)),
    Way("no-lost-task", "left RUNNING, its pod ends", _left(
        QUEUED, RUNNING, PodEvent, LedgerEvent)),
    Way("no-lost-task", "a run left RUNNING, all in it done", _run_left(_ends)),
    Way("no-lost-task", "a run left QUEUED", _run_left(
        lambda e: (e.old, e.new) == (QUEUED, RUNNING))),
    Way("queued-in-time", "one left SCHEDULED, one scheduler is free", _not_queued(0)),
    Way("queued-in-time", "one left SCHEDULED, the other is free", _not_queued(1)),
    Way("queued-in-time", "one left SCHEDULED, both are free", _not_queued(
        0, 1)),
    Way("queued-in-time", "all of a run left SCHEDULED", _not_queued(
        0, whole_run=True)),
    Way("queued-in-time", "one is queued at the end", _not_queued(0, late=True)),
)  # fmt: skip
