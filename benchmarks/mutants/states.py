"""Ways of breaking what is promised of a task instance's states and tries."""

from collections.abc import Callable

from msgspec import structs

from benchmarks.mutants.making import (
    LATER,
    OTHER,
    Events,
    Make,
    Mutants,
    Way,
    after,
    changed,
    instead,
    moves,
    step,
    until_next,
)
from oracle.events import (
    DagRunEvent,
    Event,
    PodEvent,
    Row,
    RowModel,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from oracle.states import (
    DEFERRED,
    FAILED,
    QUEUED,
    RUNNING,
    SCHEDULED,
    SKIPPED,
    SUCCESS,
    UP_FOR_RETRY,
)

API = "api-server"
TRIGGERER = "triggerer-1"
Change = Callable[[Row], dict[str, object]]


def _to(state: str | None, tries: int = 0, **columns: object) -> Change:
    """Change a row to a state, and so many tries further."""
    return lambda row: {"state": state, "try_number": row.try_number + tries, **columns}


def moved(
    old: str | None, new: str | None, *changes: Change, by: str = OTHER, unstarted: bool = False
) -> Make:
    """Have a process move a task instance on, right after it came from one state to another.

    Unstarted: where none of the executions of its try has begun yet.
    """

    def mutants(events: Events) -> Mutants:
        for place, event, row in moves(events, old, new):
            if unstarted and (event.ti, row.try_number) in _begun(events[:place]):
                continue
            added, last = [], event
            for change in changes:
                assert last.new is not None
                last = step(last, by, **change(last.new))
                added.append(last)
            yield after(events, place, *added)

    return mutants


def _begun(events: Events) -> set[tuple[TaskInstanceKey, int]]:
    """Return the tries that have begun."""
    return {(event.ti, row.try_number) for _, event, row in moves(events, QUEUED, RUNNING)}


def otherwise(old: str | None, new: str | None, change: Change, by: str = "") -> Make:
    """Have a task instance come from one state not to another, but to a third."""

    def mutants(events: Events) -> Mutants:
        for place, event, row in moves(events, old, new):
            yield instead(events, place, changed(event, by, **change(row)))

    return mutants


def _used_up(state: str) -> Change:
    return lambda row: {"state": state, "max_tries": row.try_number - 1}


def _never_started(by: str) -> Make:
    """Have a task instance fail for good that ran, as if it had never begun to."""

    def mutants(events: Events) -> Mutants:
        for place, event, row in moves(events, RUNNING, SUCCESS):
            queued = _row_before(events, place, event)
            if queued is None:
                continue
            failed = structs.replace(changed(event, by, **_used_up(FAILED)(row)), old=queued)
            rest = [each for each in events[:place] if not _runs(each, event)]
            yield [*rest, failed, *events[place + 1 :]]

    return mutants


def _row_before(events: Events, place: int, ended: TaskInstanceEvent) -> Row | None:
    for event in reversed(events[:place]):
        if isinstance(event, TaskInstanceEvent) and _starts(event, ended):
            return event.old
    return None


def _runs(event: Event, other: TaskInstanceEvent) -> bool:
    is_it = isinstance(event, TaskInstanceEvent) and event.ti == other.ti
    row = event.new if isinstance(event, TaskInstanceEvent) else None
    return is_it and row is not None and row.state == RUNNING


def _starts(event: Event, other: TaskInstanceEvent) -> bool:
    return (
        isinstance(event, TaskInstanceEvent)
        and event.ti == other.ti
        and event.old is not None
        and event.new is not None
        and (event.old.state, event.new.state) == (QUEUED, RUNNING)
    )


def _next_attempt(state: str) -> Make:
    """Have a scheduler archive an attempt that ended so, and make the next one."""

    def mutants(events: Events) -> Mutants:
        for place, event, row in moves(events, RUNNING, state):
            gone = step(event, archived=True, archived_reason="retry")
            heir = structs.replace(
                row, id=f"{row.id}-again", state=UP_FOR_RETRY, try_number=row.try_number + 1
            )
            made = structs.replace(gone, op="insert", old=None, new=heir)
            yield after(events, place, gone, made)

    return mutants


def reset(wait: float, by: str = "", new_id: bool = False) -> Make:
    """Have a scheduler take a task instance back that was queued a moment before."""

    def mutants(events: Events) -> Mutants:
        for place, event, row in moves(events, SCHEDULED, QUEUED):
            if row.queued_by_job_id is None or until_next(events, place, event) <= wait:
                continue
            who = by or _peer(event)
            again = {"id": f"{row.id}-again", "queued_by_job_id": None} if new_id else {}
            yield after(events, place, step(event, who, state=None, **again), wait=wait)

    return mutants


def adopted(state: str, by: str = "") -> Make:
    """Have a scheduler adopt a task instance that was queued a moment before."""

    def mutants(events: Events) -> Mutants:
        old = SCHEDULED if state == QUEUED else QUEUED
        for place, event, row in moves(events, old, state):
            if row.queued_by_job_id is not None and until_next(events, place, event) > LATER:
                who = by or _peer(event)
                yield after(events, place, step(event, who, queued_by_job_id=-1))

    return mutants


def _peer(event: TaskInstanceEvent) -> str:
    return "scheduler-1" if event.process == OTHER else OTHER


def _reset_of_a_dag(events: Events) -> Mutants:
    """Have everything reset at once that a scheduler queued in one transaction."""
    together: dict[int, list[tuple[int, TaskInstanceEvent]]] = {}
    for place, event, _ in moves(events, SCHEDULED, QUEUED):
        together.setdefault(event.xid, []).append((place, event))
    for group in together.values():
        last = group[-1][0]
        if len(group) > 1:
            yield after(events, last, *(step(e, _peer(e), state=None) for _, e in group))


def _skipped_where_another_run_fails(events: Events) -> Mutants:
    """Have a running task instance skipped in a transaction that fails a run of another."""
    ends = [e for e in events if isinstance(e, DagRunEvent) and e.new == SUCCESS]
    for place, event, _ in moves(events, QUEUED, RUNNING):
        other = next((e for e in ends if e.run_id != event.ti.run_id), None)
        if other is not None:
            skipped = step(event, state=SKIPPED)
            failed = structs.replace(other, process=OTHER, new=FAILED, xid=skipped.xid)
            yield after(events, place, skipped, failed)


def _successful(by_the_pod_before: bool) -> Make:
    """Have a scheduler take a queued task instance for successful, and nothing come after it.

    By its pod before: by a pod that ends late, of an execution that gave its slot back.
    """

    def mutants(events: Events) -> Mutants:
        for place, event, _ in moves(events, SCHEDULED, QUEUED):
            late = _last_end(events[:place], event) if by_the_pod_before else []
            if by_the_pod_before and not late:
                continue
            rest = [e for e in events[place + 1 :] if getattr(e, "ti", None) != event.ti]
            first = [e for e in events[: place + 1] if e not in late]
            success = step(event, event.process, state=SUCCESS)
            yield after([*first, *rest], len(first) - 1, *late, success)

    return mutants


def _last_end(events: Events, queued: TaskInstanceEvent) -> list[PodEvent]:
    """Return what was told of the end of the last pod before, where it succeeded."""
    ends = [e for e in events if isinstance(e, PodEvent) and e.ti == queued.ti and e.over]
    last = [e for e in ends if e.uid == ends[-1].uid]
    return last if last and last[0].exit_code == 0 else []


TASK: RowModel = "row-per-task"
ATTEMPT: RowModel = "row-per-attempt"

WAYS = (
    Way("unique-try", "a queued one, to a new try", moved(
        SCHEDULED, QUEUED, _to(SCHEDULED, 1))),
    Way("unique-try", "a scheduled one, to a new try", moved(
        None, SCHEDULED, _to(SCHEDULED, 1))),
    Way("unique-try", "a running one, to a new try", moved(QUEUED, RUNNING, _to(SCHEDULED, 1))),
    Way("unique-try", "a try is left out", otherwise(None, SCHEDULED, _to(SCHEDULED, 1))),
    Way("unique-try", "a try back", moved(SCHEDULED, QUEUED, _to(QUEUED, -1))),
    Way("unique-try", "no new try for it", otherwise(None, SCHEDULED, _to(SCHEDULED, -1))),
    Way("unique-try", "a running one, in the same try", moved(
        QUEUED, RUNNING, _to(SCHEDULED)), ATTEMPT),
    Way("retry-after-end", "after SUCCESS", moved(RUNNING, SUCCESS, _to(SCHEDULED, 1)), TASK),
    Way("retry-after-end", "after SUCCESS, QUEUED at once", moved(
        RUNNING, SUCCESS, _to(QUEUED, 1)), TASK),
    Way("retry-after-end", "SUCCESS -> UP_FOR_RETRY first", moved(
        RUNNING, SUCCESS, _to(UP_FOR_RETRY), _to(SCHEDULED, 1)), TASK),
    Way("retry-after-end", "SUCCESS -> FAILED first", moved(
        RUNNING, SUCCESS, _to(FAILED), _to(SCHEDULED, 1)), TASK),
    Way("retry-after-end", "SUCCESS -> UP_FOR_RETRY with a new try", moved(
        RUNNING, SUCCESS, _to(UP_FOR_RETRY, 1)), TASK),
    Way("retry-after-end", "after SKIPPED", moved(None, SKIPPED, _to(SCHEDULED, 1)), TASK),
    Way("retry-after-end", "an attempt after SUCCESS", _next_attempt(SUCCESS), ATTEMPT),
    Way("legal-transition", "RUNNING -> SCHEDULED", moved(QUEUED, RUNNING, _to(SCHEDULED))),
    Way("legal-transition", "SUCCESS -> SCHEDULED", moved(RUNNING, SUCCESS, _to(SCHEDULED))),
    Way("legal-transition", "SUCCESS -> FAILED", moved(RUNNING, SUCCESS, _to(FAILED))),
    Way("legal-transition", "QUEUED -> DEFERRED", moved(SCHEDULED, QUEUED, _to(DEFERRED))),
    Way("legal-transition", "the API server: SUCCESS -> RUNNING", moved(
        RUNNING, SUCCESS, _to(RUNNING), by=API)),
    Way("legal-transition", "the API server: SCHEDULED -> RUNNING", moved(
        None, SCHEDULED, _to(RUNNING), by=API)),
    Way("legal-transition", "a triggerer: RUNNING -> SCHEDULED", moved(
        QUEUED, RUNNING, _to(SCHEDULED), by=TRIGGERER)),
    Way("legal-transition", "a triggerer: SUCCESS -> SCHEDULED", moved(
        RUNNING, SUCCESS, _to(SCHEDULED), by=TRIGGERER)),
    Way("no-invented-outcome", "RUNNING -> SKIPPED", moved(QUEUED, RUNNING, _to(SKIPPED))),
    Way("no-invented-outcome", "SKIPPED in place of SUCCESS", otherwise(
        RUNNING, SUCCESS, _to(SKIPPED), by=OTHER)),
    Way("no-invented-outcome", "SKIPPED, and another run fails", _skipped_where_another_run_fails),
    Way("no-invented-outcome", "QUEUED -> SUCCESS", _successful(False)),
    Way("no-invented-outcome", "QUEUED -> SUCCESS by the pod before", _successful(True)),
    Way("all-tries-start", "QUEUED -> FAILED", moved(
        SCHEDULED, QUEUED, _used_up(FAILED), unstarted=True)),
    Way("all-tries-start", "SCHEDULED -> FAILED", moved(None, SCHEDULED, _used_up(FAILED))),
    Way("all-tries-start", "QUEUED -> UP_FOR_RETRY -> FAILED", moved(
        SCHEDULED, QUEUED, _to(UP_FOR_RETRY), _to(SCHEDULED, 1), _used_up(FAILED))),
    Way("all-tries-start", "reset, scheduled, FAILED", moved(
        SCHEDULED, QUEUED, _to(None), _to(SCHEDULED, 1), _used_up(FAILED))),
    Way("all-tries-start", "failed as if it had never begun", _never_started(OTHER)),
    Way("all-tries-start", "the same, by the API server", _never_started(API)),
    Way("no-live-orphan", "reset by its peer", reset(0.001)),
    Way("no-live-orphan", "reset by its peer, 0.1 s later", reset(0.1)),
    Way("no-live-orphan", "reset by its peer, with a new id", reset(0.001, new_id=True), TASK),
    Way("no-live-orphan", "reset by a third", reset(0.001, by="scheduler-3")),
    Way("no-live-orphan", "all of a transaction reset", _reset_of_a_dag),
    Way("no-live-orphan", "adopted by its peer", adopted(QUEUED)),
    Way("no-live-orphan", "adopted by a third", adopted(QUEUED, by="scheduler-3")),
    Way("no-live-orphan", "adopted at work", adopted(RUNNING, by="scheduler-3")),
)  # fmt: skip
