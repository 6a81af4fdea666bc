"""How much of what can go wrong is seen: real histories, broken in many ways, judged.

    python -m benchmarks.mutants RUN_FOLDER... [--each N]

RUN_FOLDERs are what `pytest suites/` wrote (or histories). Of each valid history in them every way
of breaking a promise makes up to N mutants, at places drawn by a seed; limits are first tightened
to what the history needed. A mutant is caught where the promise that it breaks is found broken.
Printed is, for each promise and way, how many were made and caught, and which survived.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from msgspec import structs

from oracle.events import DagRunEvent, End, Event, Header, Row, RowEvent, TaskInstanceEvent
from oracle.history import read
from oracle.states import QUEUED, RUN_FINISHED, RUNNING, SCHEDULED, SKIPPED, SUCCESS
from oracle.verdict import Judge, Judgement

Events = Sequence[Event]
Mutants = Iterator[list[Event]]
OTHER = "scheduler-2"
_LATER = 1e-4


@dataclass(frozen=True)
class Way:
    """One way of breaking a promise: every place of a history at which it can be broken so."""

    promise: str
    name: str
    mutants: Callable[[Events], Mutants]


def after(events: Events, place: int, *more: Event) -> list[Event]:
    """Put events behind one, in a transaction of their own."""
    at = events[place].t + _LATER
    added = [structs.replace(each, t=at) for each in more]
    return [*events[: place + 1], *added, *events[place + 1 :]]


def runs(events: Events, *states: str) -> Iterator[tuple[int, DagRunEvent]]:
    """Give the places where a scheduler brings a run into one of these states."""
    for place, event in enumerate(events):
        if isinstance(event, DagRunEvent) and event.new in states and "scheduler" in event.process:
            yield place, event


def moves(events: Events, old: str, new: str) -> Iterator[tuple[int, TaskInstanceEvent, Row]]:
    """Give the places where a task instance goes from one state to another."""
    for place, event in enumerate(events):
        if (
            isinstance(event, TaskInstanceEvent)
            and event.old is not None
            and event.new is not None
            and (event.old.state, event.new.state) == (old, new)
        ):
            yield place, event, event.new


def _run_again(new: str | None, shift: float | None) -> Callable[[Events], Mutants]:
    def mutants(events: Events) -> Mutants:
        for place, event in runs(events, *RUN_FINISHED):
            state = new or str(event.new)
            end = None if shift is None else (event.new_end or event.t) + shift
            again = structs.replace(
                event, old=event.new, new=state, old_end=event.new_end, new_end=end
            )
            yield after(events, place, structs.replace(again, process=OTHER, xid=event.xid + 1))

    return mutants


def _beside(count: Callable[[DagRunEvent], list[DagRunEvent]]) -> Callable[[Events], Mutants]:
    """Have other runs begin beside one, its limit being what the history needed."""

    def mutants(events: Events) -> Mutants:
        tight = list(tightened(events))
        for place, event in runs(tight, RUNNING):
            yield after(tight, place, *count(event))

    return mutants


def _copies(event: DagRunEvent, *, xids: Sequence[int], **changes: object) -> list[DagRunEvent]:
    return [
        structs.replace(event, run_id=f"{event.run_id}-{n}", xid=event.xid + 1 + xid, **changes)
        for n, xid in enumerate(xids)
    ]


def _late_end(events: Events) -> Mutants:
    """Let a run end only after the next of its DAG began."""
    tight = list(tightened(events))
    ends = {(e.dag_id, e.run_id): place for place, e in runs(tight, *RUN_FINISHED)}
    for place, event in runs(tight, RUNNING):
        earlier = [at for (dag_id, _), at in ends.items() if dag_id == event.dag_id and at < place]
        if earlier:
            at = max(earlier)
            late = structs.replace(tight[at], t=event.t + _LATER)
            yield [*tight[:at], *tight[at + 1 : place + 1], late, *tight[place + 1 :]]


def _queued_beside(events: Events, pool: bool, slots: int, copies: int) -> Mutants:
    tight = list(tightened(events))
    for place, event, row in moves(tight, SCHEDULED, QUEUED):
        if pool and row.pool is None:
            continue
        more = [
            structs.replace(
                event,
                ti=structs.replace(event.ti, task_id=f"{event.ti.task_id}-{n}"),
                new=structs.replace(row, pool_slots=slots),
                xid=event.xid + 1,
            )
            for n in range(copies)
        ]
        yield after(tight, place, *more)


def tightened(events: Events) -> Iterator[Event]:
    """Set each limit to what the history needed at most, so that one more is one too many."""
    most = _most(events)
    for event in events:
        if isinstance(event, RowEvent) and event.new is not None:
            row = dict(event.new)
            if event.table == "dag":
                row["max_active_runs"] = most["runs", row["dag_id"]]
                row["max_active_tasks"] = most["tasks", row["dag_id"]]
            elif event.table == "slot_pool":
                row["slots"] = most["pool", row["pool"]]
            yield structs.replace(event, new=row)
        else:
            yield event


def _most(events: Events) -> dict[tuple[str, str], int]:
    at_work: dict[tuple[str, str], dict[object, int]] = defaultdict(dict)
    most: dict[tuple[str, str], int] = defaultdict(lambda: 1)

    def count(key: tuple[str, str], thing: object, weight: int, whole: tuple[str, str]) -> None:
        if weight:
            at_work[key][thing] = weight
        else:
            at_work[key].pop(thing, None)
        most[whole] = max(most[whole], sum(at_work[key].values()))

    for event in events:
        if isinstance(event, DagRunEvent):
            key = ("runs", event.dag_id)
            count(key, event.run_id, int(event.new == RUNNING), key)
        elif isinstance(event, TaskInstanceEvent):
            row = event.new
            busy = row is not None and row.state in (QUEUED, RUNNING)
            run = ("tasks", f"{event.ti.dag_id} {event.ti.run_id}")
            count(run, event.ti, int(busy), ("tasks", event.ti.dag_id))
            if row is not None and row.pool is not None:
                pool = ("pool", row.pool)
                count(pool, event.ti, row.pool_slots if busy else 0, pool)
    return most


def _moved(old: str, new: str, to: str, by: str = OTHER) -> Callable[[Events], Mutants]:
    """Have a scheduler move a task instance on, right after it came from one state to another."""

    def mutants(events: Events) -> Mutants:
        for place, event, row in moves(events, old, new):
            stale = structs.replace(
                event,
                old=row,
                new=structs.replace(row, state=to, max_tries=row.try_number - 1),
                process=by,
                xid=event.xid + 1,
            )
            yield after(events, place, stale)

    return mutants


def _consumed_otherwise(
    change: Callable[[RowEvent], list[RowEvent]],
) -> Callable[[Events], Mutants]:
    def mutants(events: Events) -> Mutants:
        for place, event in enumerate(events):
            if isinstance(event, RowEvent) and event.table == "dagrun_asset_event" and event.new:
                yield [*events[:place], *change(event), *events[place + 1 :]]

    return mutants


def _with(event: RowEvent, **changes: int) -> RowEvent:
    return structs.replace(event, new={**(event.new or {}), **changes})


def _consumed_twice(events: Events) -> Mutants:
    made = {event.row: event for event in events if isinstance(event, DagRunEvent)}
    for place, event in enumerate(events):
        if isinstance(event, RowEvent) and event.table == "dagrun_asset_event" and event.new:
            run = made.get(int(event.new["dag_run_id"]))
            if run is not None:
                twin = structs.replace(run, op="insert", old=None, run_id="twin", row=-1)
                yield after(events, place, twin, _with(event, dag_run_id=-1))


WAYS = (
    Way("run-ends-once", "finished again, later", _run_again(None, 0.5)),
    Way("run-ends-once", "finished again, its end earlier", _run_again(None, -0.5)),
    Way("run-ends-once", "at work again", _run_again(RUNNING, None)),
    Way("run-ends-once", "queued again", _run_again(QUEUED, None)),
    Way("run-ends-once", "finished as failed", _run_again("failed", 0.0)),
    Way("max-active-runs", "one more, by another scheduler", _beside(
        lambda e: _copies(e, xids=[0], process=OTHER)
    )),
    Way("max-active-runs", "one more, by the same", _beside(lambda e: _copies(e, xids=[0]))),
    Way("max-active-runs", "two more in one transaction", _beside(
        lambda e: _copies(e, xids=[0, 0])
    )),
    Way("max-active-runs", "two more, one after the other", _beside(
        lambda e: _copies(e, xids=[0, 1])
    )),
    Way("max-active-runs", "the one before ends late", _late_end),
    Way("max-active-tasks", "one more", lambda e: _queued_beside(e, False, 1, 1)),
    Way("max-active-tasks", "two more", lambda e: _queued_beside(e, False, 1, 2)),
    Way("pool-slots", "one more", lambda e: _queued_beside(e, True, 1, 1)),
    Way("pool-slots", "one of three slots", lambda e: _queued_beside(e, True, 3, 1)),
    Way("no-invented-outcome", "RUNNING -> SKIPPED", _moved(QUEUED, RUNNING, SKIPPED)),
    Way("no-invented-outcome", "QUEUED -> SUCCESS", _moved(SCHEDULED, QUEUED, SUCCESS)),
    Way("legal-transition", "RUNNING -> SCHEDULED", _moved(QUEUED, RUNNING, SCHEDULED)),
    Way("legal-transition", "SUCCESS -> SCHEDULED", _moved(RUNNING, SUCCESS, SCHEDULED)),
    Way("legal-transition", "a triggerer: RUNNING -> SCHEDULED", _moved(
        QUEUED, RUNNING, SCHEDULED, "triggerer-1"
    )),
    Way("all-tries-start", "QUEUED -> FAILED, its tries used up", _moved(
        SCHEDULED, QUEUED, "failed"
    )),
    Way("asset-events-consumed", "consumed by nobody", _consumed_otherwise(lambda _: [])),
    Way("asset-events-consumed", "consumed twice", _consumed_twice),
    Way("asset-events-consumed", "another is consumed", _consumed_otherwise(
        lambda e: [_with(e, event_id=-1)]
    )),
)  # fmt: skip


def judged(header: Header, events: Sequence[Event]) -> Judgement:
    """Judge a history that is in memory."""
    judge = Judge(header)
    for event in events:
        judge.feed(event)
    if not isinstance(events[-1], End):
        judge.feed(End(events[-1].t + 1.0, len(events)))
    return judge.conclude()


def histories(places: Sequence[Path]) -> Iterator[tuple[Path, Header, list[Event]]]:
    """Give the valid histories of run folders; the others say so."""
    for path in chain.from_iterable(
        sorted(place.rglob("history.ndjson")) if place.is_dir() else [place] for place in places
    ):
        header, found = read(path)
        events = list(found)
        if (verdict := judged(header, events).verdict) == "valid":
            yield path, header, events
        else:
            print(f"left out, for it is {verdict}: {path.parent.name}")


def main() -> None:
    """Break each history in every way, and print what was caught."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--each", type=int, default=20, help="of a way and a history (%(default)s)")
    options = parser.parse_args()
    caught: dict[Way, list[bool]] = {way: [] for way in WAYS}
    dice = random.Random(1)
    for path, header, events in histories(options.places):
        for way in WAYS:
            mutants = list(way.mutants(events))
            for mutant in dice.sample(mutants, min(options.each, len(mutants))):
                found = judged(header, mutant).by_invariant[way.promise] > 0
                caught[way].append(found)
                if not found:
                    print(f"survived: {way.promise}: {way.name} ({path.parent.name})")
    for way, found_ in caught.items():
        print(f"{way.promise:<22} {way.name:<36} {sum(found_):>5} of {len(found_)}")


if __name__ == "__main__":
    main()
