"""Ways of breaking what is promised of a DAG as a whole, and of the triggers that it waits for.

Few floods drain a DAG, backfill one, or update an asset by partition. So what a history lacks is
put in, as Airflow would write it, and broken in the same breath.
"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import structs

from benchmarks.mutants.making import (
    OTHER,
    Events,
    Make,
    Mutants,
    Way,
    after,
    among,
    and_then_nothing,
    another,
    runs,
)
from oracle.events import DagRunEvent, Event, RowEvent
from oracle.states import QUEUED, RUNNING, SUCCESS

_API = "api-server"
_EACH = [{"asset": {"id": -1}}, {"asset": {"id": -2}}]
_BOTH = {"all": _EACH}


def _row(
    table: str,
    new: dict[str, Any] | None,
    t: float,
    process: str = _API,
    *,
    xid: int = 1,
    old: dict[str, Any] | None = None,
) -> RowEvent:
    return RowEvent(t, "update" if old else "insert", table, old, new, process, xid)


def _backfills(*steps: tuple[int, bool, str, int]) -> Make:
    """Have backfills of a DAG made and ended: the number, whether it is over, by whom, the xid."""

    def mutants(events: Events) -> Mutants:
        for place, run in runs(events, RUNNING):
            put, before = [], dict[int, dict[str, Any]]()
            for number, over, process, xid in steps:
                ended = "2026-01-01" if over else None
                row = {"id": -number, "dag_id": run.dag_id, "completed_at": ended}
                old = before.get(number)
                put.append(_row("backfill", row, run.t, process, xid=xid, old=old))
                before[number] = row
            yield after(events, place, *put)

    return mutants


def _drained(*begun: Callable[[DagRunEvent], Event], at: str = RUNNING) -> Make:
    """Have a DAG paused that was drained, when these have come after a run came into a state."""

    def mutants(events: Events) -> Mutants:
        for place, run in runs(events, at):
            yield after(events, place, *(each(run) for each in begun), _paused(run))

    return mutants


def _paused(run: DagRunEvent) -> RowEvent:
    draining = {"dag_id": run.dag_id, "is_draining": True, "is_paused": False}
    drained = draining | {"is_draining": False, "is_paused": True}
    return _row("dag", drained, run.t, OTHER, xid=9, old=draining)


def _another(state: str, process: str, xid: int = 1) -> Callable[[DagRunEvent], Event]:
    """Return what makes another run of the same DAG."""

    return lambda run: another(run, new=state, process=process, xid=xid)


def _cleared(run: DagRunEvent) -> Event:
    return structs.replace(run, op="update", old=run.new, new=QUEUED, process=_API, xid=1)


def _taken(*owners: tuple[int, str, float]) -> Make:
    """Have a trigger taken by triggerers in turn: their jobs, names, and seconds in between."""

    def mutants(events: Events) -> Mutants:
        for _, run in runs(events, RUNNING):
            put, t, old = [], run.t, None
            for job, process, wait in owners:
                t += wait
                row = {"id": -1, "triggerer_id": job}
                put.append(_row("trigger", row, t, process, xid=-job, old=old))
                old = row
            if t < events[-1].t:
                yield among(events, *put)

    return mutants


def _set_off(*assets: int, condition: Any = _BOTH) -> Make:
    """Have a run set off by events of these assets, of a DAG that waits for something else."""

    def mutants(events: Events) -> Mutants:
        for place, run in runs(events, RUNNING):
            dag = {"dag_id": run.dag_id, "asset_expression": condition}
            came = [
                _row("asset_event", {"id": -10 - n, "asset_id": asset}, run.t, xid=2)
                for n, asset in enumerate(assets)
            ]
            had = [
                _row("dagrun_asset_event", {"event_id": -10 - n, "dag_run_id": -1}, run.t, xid=3)
                for n in range(len(assets))
            ]
            made = another(run, xid=3)
            yield after(events, place, _row("dag", dag, run.t), *came, made, *had)

    return mutants


def _partitions(*assets: int, run_has: int = 0, keys: int = 1) -> Make:
    """Have partitions of assets updated, and a run that has so many of each key's events."""

    def mutants(events: Events) -> Mutants:
        for place, run in runs(events, RUNNING):
            dag = {"dag_id": run.dag_id, "is_paused": False, "asset_expression": _BOTH}
            put: list[Event] = [_row("dag", dag, run.t)]
            for key in range(keys):
                put += _partition(run, key, assets, run_has)
            yield and_then_nothing(after(events, place, *put))

    return mutants


def _partition(run: DagRunEvent, which: int, assets: tuple[int, ...], has: int) -> Iterator[Event]:
    """Give what Airflow writes of one partition; a run has the first `has` of its events."""
    key, row = f"key-{which}", -1 - which
    names = {"source_partition_key": key, "target_partition_key": key, "target_dag_id": run.dag_id}
    numbers = [100 * row - n for n in range(len(assets))]
    for number, asset in zip(numbers, assets, strict=True):
        happened = {"id": number, "asset_id": asset, "partition_key": key}
        yield _row("asset_event", happened, run.t, xid=2)
        counts = {**names, "asset_event_id": number, "asset_id": asset}
        yield _row("partitioned_asset_key_log", counts, run.t, xid=2)
    if has:
        yield another(run, run_id=f"of-{key}", row=row, xid=3)
        for number in numbers[:has]:
            had = {"event_id": number, "dag_run_id": row}
            yield _row("dagrun_asset_event", had, run.t, xid=3)


_TWO = "triggerer-2"

WAYS = (
    Way("one-backfill", "another one beside it", _backfills(
        (1, False, _API, 1), (2, False, _API, 2))),
    Way("one-backfill", "two in one transaction", _backfills(
        (1, False, _API, 1), (2, False, _API, 1))),
    Way("one-backfill", "a scheduler makes another", _backfills(
        (1, False, _API, 1), (2, False, OTHER, 2))),
    Way("one-backfill", "the first ends late", _backfills(
        (1, False, _API, 1), (2, False, _API, 2), (1, True, OTHER, 3))),
    Way("one-backfill", "the first begins again", _backfills(
        (1, False, _API, 1), (1, True, OTHER, 2), (1, False, _API, 3), (2, False, _API, 4))),
    Way("one-backfill", "a third, when the second has ended", _backfills(
        (1, False, _API, 1), (2, False, _API, 2), (2, True, OTHER, 3), (3, False, _API, 4))),
    Way("drained-dag", "another run is queued", _drained(_another(QUEUED, _API))),
    Way("drained-dag", "another run is at work", _drained(_another(RUNNING, OTHER))),
    Way("drained-dag", "a run is made as it is paused", _drained(_another(QUEUED, _API, 9))),
    Way("drained-dag", "what was accepted is at work", _drained()),
    Way("drained-dag", "what has ended is cleared", _drained(_cleared, at=SUCCESS)),
    Way("trigger-owner", "a moment later", _taken((-1, "triggerer-1", 0.0), (-2, _TWO, 0.1))),
    Way("trigger-owner", "seconds later", _taken((-1, "triggerer-1", 0.0), (-2, _TWO, 8.0))),
    Way("trigger-owner", "to and fro", _taken(
        (-1, "triggerer-1", 0.0), (-2, _TWO, 0.5), (-1, "triggerer-1", 0.5))),
    Way("trigger-owner", "after it was kept", _taken(
        (-1, "triggerer-1", 0.0), (-1, "triggerer-1", 1.0), (-2, _TWO, 1.0))),
    Way("trigger-owner", "by another job of its own", _taken(
        (-1, "triggerer-1", 0.0), (-2, "triggerer-1", 2.0))),
    Way("asset-condition-met", "one of two", _set_off(-1)),
    Way("asset-condition-met", "the other of two", _set_off(-2)),
    Way("asset-condition-met", "one, twice", _set_off(-1, -1)),
    Way("asset-condition-met", "another asset's", _set_off(-3)),
    Way("asset-condition-met", "either, but not the third", _set_off(
        -1, condition={"all": [{"any": _EACH}, {"asset": {"id": -4}}]})),
    Way("partitions-run", "in no run", _partitions(-1, -2)),
    Way("partitions-run", "in no run, one twice", _partitions(-1, -1, -2)),
    Way("partitions-run", "in no run, of three keys", _partitions(-1, -2, keys=3)),
    Way("partitions-run", "a run has what came first", _partitions(-1, -2, -1, -2, run_has=2)),
    Way("partitions-run", "and a third asset beside", _partitions(-1, -3, -2)),
)  # fmt: skip
