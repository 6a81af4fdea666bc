"""Does every update of an asset come to every DAG that is scheduled on it, once?"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from oracle.distinct import Distinct
from oracle.events import DagRunEvent, Header, RowEvent
from oracle.invariants.base import LeftAtEnd, Violation

BOUND_SECONDS = 15.0
"""How long after an event, and after the last disturbance, a run must have consumed it: a scheduler
looks for assets in every loop, which takes a second or two."""


class AssetEventsConsumed(LeftAtEnd):
    """Whoever updates an asset counts on it that what is scheduled on the asset sees the update.

    An event is in the runs that consumed it (`dagrun_asset_event`). Judged are the DAGs that any
    one asset of theirs sets off: one that waits for several has events that rightly wait. A paused
    DAG consumes nothing, and partitioned events go another way (`asset_partition_dag_run`).
    """

    name = "asset-events-consumed"
    promise = "Every event of an asset is consumed by one run of each DAG that it sets off"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._consumers: defaultdict[int, set[str]] = defaultdict(set)
        self._set_off: dict[str, bool] = {}
        self._runs: dict[int, DagRunEvent] = {}
        self._latest: dict[int, RowEvent] = {}
        self._waiting: dict[tuple[int, str], tuple[RowEvent, RowEvent | None]] = {}
        self._consumed: dict[tuple[int, str], int] = {}
        self._judged = Distinct()

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Follow what waits for assets, their events, and the runs that consume these."""
        follow = {
            "dag": self._dag,
            "dag_schedule_asset_reference": self._reference,
            "asset_event": self._happened,
            "dagrun_asset_event": self._consume,
        }.get(event.table)
        return follow(event) if follow else ()

    def _dag(self, event: RowEvent) -> Iterable[Violation]:
        if event.new is not None:
            expression = event.new.get("asset_expression")
            off = _by_any(expression) and not event.new.get("is_paused")
            self._set_off[str(event.new["dag_id"])] = off
        return ()

    def _reference(self, event: RowEvent) -> Iterable[Violation]:
        if event.old is not None:
            self._consumers[int(event.old["asset_id"])].discard(str(event.old["dag_id"]))
        if event.new is not None:
            self._consumers[int(event.new["asset_id"])].add(str(event.new["dag_id"]))
        return ()

    def _happened(self, event: RowEvent) -> Iterable[Violation]:
        if event.op != "insert" or event.new is None or event.new.get("partition_key"):
            return ()
        asset = int(event.new["asset_id"])
        for dag_id in self._consumers[asset]:
            if self._set_off.get(dag_id):
                self._waiting[int(event.new["id"]), dag_id] = (event, self._latest.get(asset))
                self._judged.add((event.new["id"], dag_id))
        self._latest[asset] = event
        return ()

    def on_run(self, event: DagRunEvent) -> None:
        """Remember whose a run is."""
        if event.op == "insert" and event.row:
            self._runs[event.row] = event

    def _consume(self, event: RowEvent) -> Iterable[Violation]:
        row = event.new
        run = self._runs.get(int(row["dag_run_id"])) if row else None
        if event.op != "insert" or row is None or run is None:
            return ()
        which = (int(row["event_id"]), run.dag_id)
        self._waiting.pop(which, None)
        before = self._consumed.setdefault(which, run.row)
        if before == run.row:
            return ()
        first = self._runs[before]
        fact = (
            f"event {which[0]} is in {first.run_id} (made by {first.process}) and in {run.run_id} "
            f"(by {run.process}) of {run.dag_id}"
        )
        return (self.violation(fact, None, event.t, first, run),)

    def finish(self) -> Iterable[Violation]:
        """Report what is in no run though there was time for it."""
        for (number, dag_id), (event, before) in self._waiting.items():
            if (left := self.left_for(event.t)) > BOUND_SECONDS and self._set_off.get(dag_id):
                asset = (event.new or {}).get("asset_id")
                fact = (
                    f"event {number} of asset {asset} (by {event.process}) is in no run of {dag_id}"
                    f" {left:.0f} s later"
                )
                witness = [*self._consumption(before, dag_id), event]
                yield self.violation(fact, None, event.t, *sorted(witness, key=lambda each: each.t))

    def _consumption(self, event: RowEvent | None, dag_id: str) -> Iterator[RowEvent | DagRunEvent]:
        """Give the asset's event before, and the run that has it: that one was seen."""
        if event is not None and event.new is not None:
            yield event
            run = self._runs.get(self._consumed.get((int(event.new["id"]), dag_id), 0))
            if run is not None:
                yield run

    def abstention(self) -> str | None:
        """Say that nothing was to be consumed."""
        return None if len(self._judged) else "no asset that sets off a DAG was updated"

    def judged(self) -> int | None:
        """Count the events, by each DAG that they set off."""
        return len(self._judged)

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "asset events"


def _by_any(expression: Any) -> bool:
    """Tell whether one asset alone satisfies an expression, as Airflow stores it.

    {"any": [..]}, {"all": [..]} or one of {"asset": ..}, {"alias": ..}, {"asset_ref": ..}; a DAG
    that is scheduled on a list has "all" of it.
    """
    if not isinstance(expression, dict):
        return False
    if "all" in expression:
        return len(expression["all"]) == 1 and _by_any(expression["all"][0])
    if "any" in expression:
        return all(_by_any(each) for each in expression["any"])
    return "asset" in expression or "asset_ref" in expression
