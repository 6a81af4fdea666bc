"""Is there a run for each partition of which all assets were updated?"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from oracle.distinct import Distinct
from oracle.events import DagRunEvent, Header, RowEvent
from oracle.invariants.asset_condition_met import is_met
from oracle.invariants.asset_events_consumed import BOUND_SECONDS
from oracle.invariants.base import LeftAtEnd, Violation

Partition = tuple[str, str]
"""A DAG, and the key of a partition of what it reads."""


class PartitionsRun(LeftAtEnd):
    """A DAG that reads two assets by partition (Airflow 3.2) is to read each when both are there.

    Which event counts for which partition of which DAG is written with the event
    (`partitioned_asset_key_log`), and which run had it, with the run (`dagrun_asset_event`). What
    is in no run in the end waits for another asset; if those that wait meet the DAG's condition
    together, nobody will ever run them. Judged are partitions whose keys go over as they are: what
    a mapper makes of others, a week of days, rows do not say. A paused DAG is not judged.
    """

    name = "partitions-run"
    promise = "A partition of which all assets were updated is run"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._conditions: dict[str, Any] = {}
        self._dags: dict[int, str] = {}
        self._made: dict[str, DagRunEvent] = {}
        self._waiting: defaultdict[Partition, dict[int, RowEvent]] = defaultdict(dict)
        self._partitions: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
        self._events: dict[int, RowEvent] = {}
        self._judged = Distinct()

    def on_run(self, event: DagRunEvent) -> None:
        """Remember whose a run is."""
        if event.op == "insert" and event.row:
            self._dags[event.row] = event.dag_id
            self._made[event.dag_id] = event

    def on_row(self, event: RowEvent) -> None:
        """Follow what DAGs wait for, which events wait for a run, and who has them."""
        follow = {
            "dag": self._dag,
            "asset_event": self._happened,
            "partitioned_asset_key_log": self._counts,
            "dagrun_asset_event": self._consumed,
        }.get(event.table)
        if follow and event.new is not None:
            follow(event, event.new)

    def _dag(self, _: RowEvent, row: dict[str, Any]) -> None:
        condition = None if row.get("is_paused") else row.get("asset_expression")
        self._conditions[str(row["dag_id"])] = condition

    def _happened(self, event: RowEvent, row: dict[str, Any]) -> None:
        if row.get("partition_key"):
            self._events[int(row["id"])] = event

    def _counts(self, event: RowEvent, row: dict[str, Any]) -> None:
        dag_id, key, number = (
            row["target_dag_id"],
            row["target_partition_key"],
            row["asset_event_id"],
        )
        if event.op == "insert" and key == row["source_partition_key"]:
            self._waiting[dag_id, key][number] = event
            self._partitions[number, dag_id].add(key)
            self._judged.add((dag_id, key))

    def _consumed(self, _: RowEvent, row: dict[str, Any]) -> None:
        number, dag_id = int(row["event_id"]), self._dags.get(int(row["dag_run_id"]), "")
        for key in self._partitions.pop((number, dag_id), ()):
            del self._waiting[dag_id, key][number]

    def finish(self) -> Iterable[Violation]:
        """Report what is in no run though there was time for it."""
        for (dag_id, key), waiting in self._waiting.items():
            counted = list(waiting.values())
            assets = {int(event.new["asset_id"]) for event in counted if event.new}
            if not counted or not is_met(self._conditions.get(dag_id), assets):
                continue
            if (left := self.left_for(counted[-1].t)) > BOUND_SECONDS:
                told = " and ".join(f"event {number}" for number in waiting)
                told += " is" if len(waiting) == 1 else " are"
                fact = f"{told} in no run of {dag_id} for {key}, {left:.0f} s later"
                events = [self._events.get(each, waiting[each]) for each in waiting]
                yield self.violation(fact, None, events[-1].t, *self._told(dag_id, events))

    def _told(self, dag_id: str, events: list[RowEvent]) -> Iterable[RowEvent | DagRunEvent]:
        """Give the events, and the run of that DAG that was made after them without them."""
        made = self._made.get(dag_id)
        more = [made] if made is not None and made.t >= events[0].t else []
        return sorted([*events, *more], key=lambda each: each.t)

    def abstention(self) -> str | None:
        """Say that nothing was to be run."""
        return None if len(self._judged) else "no partition of an asset was updated"

    def judged(self) -> int | None:
        """Count the partitions, by each DAG that reads them."""
        return len(self._judged)

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "partitions of assets"
