"""Ways of breaking what is promised of runs, and of the assets that make them."""

from collections.abc import Callable, Iterator

from msgspec import structs

from benchmarks.mutants.making import OTHER, Events, Make, Mutants, Way, after, instead, runs
from oracle.events import DagRunEvent, RowEvent
from oracle.states import QUEUED, RUN_FINISHED, RUNNING


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
            twin = structs.replace(run, op="insert", old=None, run_id="twin", row=-1)
            yield after(events, place, twin, _with(event, dag_run_id=-1))


WAYS = (
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
