"""Ways of breaking limits on what runs at once, which are first tightened to what was needed."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from msgspec import structs

from benchmarks.mutants.making import LATER, OTHER, Events, Make, Mutants, Way, after, moves, runs
from oracle.events import DagRunEvent, Event, Row, RowEvent, TaskInstanceEvent
from oracle.states import QUEUED, RUN_FINISHED, RUNNING, SCHEDULED

Key = tuple[str, str]
"""What is limited: `runs` or `tasks` and a DAG, `pool` and its name."""


class Usage:
    """What a history has at work at each commit, and at most: the tightest that limits can be."""

    def __init__(self, events: Events) -> None:
        self.most: dict[Key, int] = defaultdict(lambda: 1)
        self._at: dict[tuple[str, int], int] = {}
        self._work: dict[Key, dict[object, int]] = defaultdict(dict)
        self._changed: list[tuple[int, Key, Key]] = []
        xid = 0
        for place, event in enumerate(events):
            if isinstance(event, DagRunEvent | TaskInstanceEvent):
                if event.xid != xid:
                    self._commit()
                    xid = event.xid
                self._follow(place, event)
        self._commit()

    def full(self, what: str, place: int, key: Key, more: int = 1) -> bool:
        """Tell whether so much more is too much, once the event at a place is committed."""
        return self._at[what, place] + more > self.most[key]

    def _follow(self, place: int, event: DagRunEvent | TaskInstanceEvent) -> None:
        if isinstance(event, DagRunEvent):
            key = ("runs", event.dag_id)
            self._count(place, key, key, event.run_id, int(event.new == RUNNING))
            return
        row = event.new or event.old
        busy = event.new is not None and event.new.state in (QUEUED, RUNNING)
        run = ("tasks", f"{event.ti.dag_id} {event.ti.run_id}")
        self._count(place, run, ("tasks", event.ti.dag_id), event.ti, int(busy))
        if row is not None and row.pool is not None:
            pool = ("pool", row.pool)
            self._count(place, pool, pool, event.ti, row.pool_slots if busy else 0)

    def _count(self, place: int, of: Key, limit: Key, thing: object, weight: int) -> None:
        if weight:
            self._work[of][thing] = weight
        else:
            self._work[of].pop(thing, None)
        self._changed.append((place, of, limit))

    def _commit(self) -> None:
        for place, of, limit in self._changed:
            count = self._at[of[0], place] = sum(self._work[of].values())
            self.most[limit] = max(self.most[limit], count)
        self._changed.clear()


def tightened(events: Events, most: dict[Key, int]) -> list[Event]:
    """Set each limit to what the history needed at most, so that one more is one too many."""
    return [_tight(event, most) if isinstance(event, RowEvent) else event for event in events]


def _tight(event: RowEvent, most: dict[Key, int]) -> RowEvent:
    if event.new is None:
        return event
    row = dict(event.new)
    if event.table == "dag":
        row["max_active_runs"] = most["runs", row["dag_id"]]
        row["max_active_tasks"] = most["tasks", row["dag_id"]]
    elif event.table == "slot_pool":
        row["slots"] = most["pool", row["pool"]]
    return structs.replace(event, new=row)


def _runs_beside(count: Callable[[DagRunEvent], list[DagRunEvent]]) -> Make:
    """Have other runs begin beside one."""

    def mutants(events: Events) -> Mutants:
        usage = Usage(events)
        tight = tightened(events, usage.most)
        for place, event in runs(tight, RUNNING):
            more = count(event)
            if usage.full("runs", place, ("runs", event.dag_id), len(more)):
                yield after(tight, place, *more)

    return mutants


def _copies(event: DagRunEvent, xids: Sequence[int], process: str = "") -> list[DagRunEvent]:
    return [
        structs.replace(
            event,
            run_id=f"{event.run_id}-{n}",
            xid=event.xid + xid,
            process=process or event.process,
        )
        for n, xid in enumerate(xids)
    ]


def _run_ends_late(events: Events) -> Mutants:
    """Let a run end only after the next of its DAG began."""
    usage = Usage(events)
    tight = tightened(events, usage.most)
    ends = {(e.dag_id, e.run_id): place for place, e in runs(tight, *RUN_FINISHED)}
    for place, event in runs(tight, RUNNING):
        earlier = [at for (dag_id, _), at in ends.items() if dag_id == event.dag_id and at < place]
        if earlier and usage.full("runs", place, ("runs", event.dag_id)):
            yield _delayed(tight, max(earlier), place)


def _last_of_transaction(events: Events, place: int) -> int:
    xid = getattr(events[place], "xid", 0)
    while getattr(events[place + 1], "xid", None) == xid:
        place += 1
    return place


def _delayed(events: Events, place: int, until: int) -> list[Event]:
    """Let what is at one place come after the transaction at another."""
    until = _last_of_transaction(events, until)
    late = structs.replace(events[place], t=events[until].t + LATER)
    return [*events[:place], *events[place + 1 : until + 1], late, *events[until + 1 :]]


def _tasks_beside(
    *, pool: bool = False, slots: int = 1, copies: int = 1, process: str = "", apart: bool = False
) -> Make:
    """Have other task instances queued beside one, in a transaction each where they are apart."""

    def mutants(events: Events) -> Mutants:
        usage = Usage(events)
        tight = tightened(events, usage.most)
        for place, event, row in moves(tight, SCHEDULED, QUEUED):
            if not _is_full(usage, place, event, row, pool, slots * copies):
                continue
            more = [
                structs.replace(
                    event,
                    ti=structs.replace(event.ti, task_id=f"{event.ti.task_id}-{n}"),
                    old=structs.replace(event.old, id=f"{row.id}-{n}"),
                    new=structs.replace(row, id=f"{row.id}-{n}", pool_slots=slots),
                    xid=event.xid + n * apart,
                    process=process or event.process,
                )
                for n in range(copies)
                if event.old is not None
            ]
            yield after(tight, place, *more)

    return mutants


def _is_full(
    usage: Usage, place: int, event: TaskInstanceEvent, row: Row, pool: bool, more: int
) -> bool:
    if not pool:
        return usage.full("tasks", place, ("tasks", event.ti.dag_id), more)
    return row.pool is not None and usage.full("pool", place, ("pool", row.pool), more)


def _task_ends_late(pool: bool) -> Make:
    """Let a task instance give its place back only after the next one was queued."""

    def mutants(events: Events) -> Mutants:
        usage = Usage(events)
        tight = tightened(events, usage.most)
        ends = [
            (place, e)
            for place, e in enumerate(tight)
            if isinstance(e, TaskInstanceEvent) and _gives_back(e)
        ]
        for place, event, row in moves(tight, SCHEDULED, QUEUED):
            until = _last_of_transaction(tight, place)
            earlier = [
                at
                for at, e in ends
                if at < place
                and (pool or (e.ti.dag_id, e.ti.run_id) == (event.ti.dag_id, event.ti.run_id))
                and not any(
                    isinstance(each, TaskInstanceEvent) and each.ti == e.ti
                    for each in tight[at + 1 : until + 1]
                )
            ]
            if earlier and _is_full(usage, place, event, row, pool, 1):
                yield _delayed(tight, earlier[-1], place)

    return mutants


def _gives_back(event: TaskInstanceEvent) -> bool:
    old, new = event.old, event.new
    return (
        old is not None
        and old.state == RUNNING
        and new is not None
        and new.state not in (QUEUED, RUNNING)
        and not new.archived
    )


WAYS = (
    Way("max-active-runs", "one more, by another scheduler", _runs_beside(
        lambda e: _copies(e, [0], OTHER))),
    Way("max-active-runs", "one more, by the same", _runs_beside(lambda e: _copies(e, [0]))),
    Way("max-active-runs", "two more in one transaction", _runs_beside(
        lambda e: _copies(e, [0, 0]))),
    Way("max-active-runs", "two more, one after the other", _runs_beside(
        lambda e: _copies(e, [0, 1]))),
    Way("max-active-runs", "the one before ends late", _run_ends_late),
    Way("max-active-tasks", "one more, by another scheduler", _tasks_beside(process=OTHER)),
    Way("max-active-tasks", "one more, by the same", _tasks_beside()),
    Way("max-active-tasks", "two more in one transaction", _tasks_beside(copies=2)),
    Way("max-active-tasks", "two more, one after the other", _tasks_beside(copies=2, apart=True)),
    Way("max-active-tasks", "the one before ends late", _task_ends_late(pool=False)),
    Way("pool-slots", "one more, by another scheduler", _tasks_beside(pool=True, process=OTHER)),
    Way("pool-slots", "one more, by the same", _tasks_beside(pool=True)),
    Way("pool-slots", "one of three slots", _tasks_beside(pool=True, slots=3)),
    Way("pool-slots", "two more, one after the other", _tasks_beside(
        pool=True, copies=2, apart=True)),
    Way("pool-slots", "the one before ends late", _task_ends_late(pool=True)),
)  # fmt: skip
