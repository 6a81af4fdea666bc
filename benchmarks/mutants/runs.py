"""Ways of breaking what is promised of runs, and of the assets that make them."""

from collections.abc import Callable, Iterator

from msgspec import structs

from benchmarks.mutants.making import (
    OTHER,
    Events,
    Make,
    Mutants,
    Way,
    after,
    among,
    another,
    instead,
    moves,
    runs,
)
from oracle.events import DagRunEvent, Event, RowEvent
from oracle.rows import CALLBACKS
from oracle.states import FAILED, QUEUED, RUN_FINISHED, RUNNING, SUCCESS


def _again(new: str | None, shift: float | None) -> Make:
    """Have a finished run changed once more: to a state, its end by so many seconds."""

    def mutants(events: Events) -> Mutants:
        for place, event in runs(events, *RUN_FINISHED):
            end = None if shift is None else (event.new_end or event.t) + shift
            yield after(
                events,
                place,
                structs.replace(
                    event,
                    old=event.new,
                    new=new or event.new,
                    old_end=event.new_end,
                    new_end=end,
                    process=OTHER,
                ),
            )

    return mutants


def _consumptions(events: Events) -> Iterator[tuple[int, RowEvent]]:
    """Give where an event of an asset is consumed, of those that came while it was recorded."""
    came = {
        e.new["id"]
        for e in events
        if isinstance(e, RowEvent) and (e.table, e.op) == ("asset_event", "insert") and e.new
    }
    for place, event in enumerate(events):
        consumes = isinstance(event, RowEvent) and event.table == "dagrun_asset_event"
        if isinstance(event, RowEvent) and consumes and event.new and event.new["event_id"] in came:
            yield place, event


def _consumed(change: Callable[[RowEvent, Events], list[RowEvent]]) -> Make:
    """Have other events consumed than were, or by other runs."""

    def mutants(events: Events) -> Mutants:
        for place, event in _consumptions(events):
            yield instead(events, place, *change(event, events))

    return mutants


def _with(event: RowEvent, **changes: int) -> RowEvent:
    return structs.replace(event, new={**(event.new or {}), **changes})


def _by_another_dag(event: RowEvent, events: Events) -> list[RowEvent]:
    mine = int((event.new or {})["dag_run_id"])
    rows = {each.row: each.dag_id for each in events if isinstance(each, DagRunEvent)}
    other = next((row for row, dag_id in rows.items() if row and dag_id != rows.get(mine)), -1)
    return [_with(event, dag_run_id=other)]


def _consumed_twice(events: Events) -> Mutants:
    made = {event.row: event for event in events if isinstance(event, DagRunEvent)}
    for place, event in _consumptions(events):
        run = made.get(int((event.new or {})["dag_run_id"]))
        if run is not None:
            yield after(events, place, another(run), _with(event, dag_run_id=-1))


def _request(event: DagRunEvent, process: str = "", **changes: object) -> RowEvent:
    """Return the request for the callback of a run, as who has ended it leaves it."""
    request = {"request": "DagCallbackRequest", "failed": event.new == FAILED}
    row = {"dag_id": event.dag_id, "run_id": event.run_id, **request, **changes}
    return RowEvent(event.t, "insert", "callback", None, row, process or event.process, 1)


def _called(*more: Callable[[DagRunEvent], DagRunEvent | RowEvent], early: float = 0.0) -> Make:
    """Have these come when a run ends, or so many seconds earlier."""

    def mutants(events: Events) -> Mutants:
        for place, event in runs(events, *RUN_FINISHED):
            if early:
                put = [structs.replace(each(event), t=event.t - early) for each in more]
                yield among(events, *put)
            else:
                yield after(events, place, *(each(event) for each in more))

    return mutants


def _finished_again(event: DagRunEvent) -> DagRunEvent:
    end = (event.new_end or event.t) + 0.1
    return structs.replace(
        event, old=event.new, old_end=event.new_end, new_end=end, process=OTHER, xid=event.xid + 1
    )


def _called_for_one(events: Events) -> Mutants:
    """Have the callback of one run asked for, and not that of the next that ended so."""
    ends: dict[tuple[str, str | None], DagRunEvent] = {}
    for _, event in runs(events, *RUN_FINISHED):
        first = ends.setdefault((event.dag_id, event.new), event)
        if first is not event and event.t + 6.0 < events[-1].t:
            kept = [each for each in events if not _is_request(each, event)]
            yield among(kept, _request(first))


def _is_request(event: Event, of: DagRunEvent) -> bool:
    row = event.new if isinstance(event, RowEvent) and event.table in CALLBACKS else None
    return row is not None and row["dag_id"] == of.dag_id


def _try_called_twice(events: Events) -> Mutants:
    for place, event, row in moves(events, RUNNING, SUCCESS):
        ti = event.ti
        which = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
        of = {"map_index": ti.map_index, "ti": row.id, "try_number": row.try_number}
        asked = {"request": "TaskCallbackRequest", "failed": None, **which, **of}
        first = RowEvent(event.t, "insert", "callback", None, asked, event.process, 1)
        yield after(events, place, first, structs.replace(first, process=OTHER, xid=2))


WAYS = (
    Way("called-back-once", "asked for by both", _called(
        _request, lambda event: _request(event, OTHER))),
    Way("called-back-once", "as a success and as a failure", _called(
        lambda event: _request(event, failed=False), lambda event: _request(event, failed=True))),
    Way("called-back-once", "by both before its end is told", _called(
        _request, lambda event: _request(event, OTHER), early=0.01)),
    Way("called-back-once", "finished again, asked for again", _called(
        _request, _finished_again, lambda event: _request(event, OTHER))),
    Way("called-back-once", "asked for by nobody", _called_for_one),
    Way("called-back-once", "of a try, by two", _try_called_twice),
    Way("run-ends-once", "finished again, later", _again(None, 0.5)),
    Way("run-ends-once", "finished again, its end earlier", _again(None, -0.5)),
    Way("run-ends-once", "at work again", _again(RUNNING, None)),
    Way("run-ends-once", "queued again", _again(QUEUED, None)),
    Way("run-ends-once", "finished as failed", _again("failed", 0.0)),
    Way("asset-events-consumed", "by nobody", _consumed(lambda *_: [])),
    Way("asset-events-consumed", "twice", _consumed_twice),
    Way("asset-events-consumed", "another is consumed", _consumed(
        lambda event, _: [_with(event, event_id=-1)])),
    Way("asset-events-consumed", "by a run that there is not", _consumed(
        lambda event, _: [_with(event, dag_run_id=-1)])),
    Way("asset-events-consumed", "by a run of another DAG", _consumed(_by_another_dag)),
)  # fmt: skip
