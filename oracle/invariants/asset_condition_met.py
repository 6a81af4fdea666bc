"""Has a run that assets set off what its DAG waits for?"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from oracle.events import DagRunEvent, Header, RowEvent
from oracle.invariants.base import Invariant, Violation


class AssetConditionMet(Invariant):
    """A DAG that is scheduled on two assets reads both: with the news of one it does half its work.

    What set a run off are the events that it consumed (`dagrun_asset_event`), all written in the
    transaction that made it. They are judged once that is over, by the condition that the DAG's row
    had then. Not judged is a condition with an alias or a reference, of which rows do not say what
    they stand for, a partitioned event, and one that came before the recording.
    """

    name = "asset-condition-met"
    promise = "A run that assets set off has consumed events that meet its DAG's condition"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._conditions: dict[str, Any] = {}
        self._assets: dict[int, int] = {}
        self._made: dict[int, DagRunEvent] = {}
        self._consumed: defaultdict[int, list[RowEvent]] = defaultdict(list)
        self._latest: dict[str, DagRunEvent] = {}
        self._xid = 0
        self._judged = 0

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Remember what this transaction makes; judge what the one before has made."""
        found = self._over(event.xid)
        if event.op == "insert" and event.row:
            self._made[event.row] = event
        return found

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Follow what DAGs wait for, the events of assets, and who consumes them."""
        found = self._over(event.xid)
        row = event.new
        if row is None:
            return found
        if event.table == "dag":
            self._conditions[str(row["dag_id"])] = row.get("asset_expression")
        elif event.table == "asset_event" and not row.get("partition_key"):
            self._assets[int(row["id"])] = int(row["asset_id"])
        elif event.table == "dagrun_asset_event" and event.op == "insert":
            self._consumed[int(row["dag_run_id"])].append(event)
        return found

    def finish(self) -> Iterable[Violation]:
        """Judge what was made last."""
        return self._over(-1)

    def _over(self, xid: int) -> list[Violation]:
        """Judge the runs of a transaction that is over: another one is heard of."""
        if xid == self._xid:
            return []
        self._xid = xid
        found = [
            violation
            for number, run in self._made.items()
            for violation in self._judge(run, self._consumed.get(number, []))
        ]
        self._made.clear()
        self._consumed.clear()
        return found

    def _judge(self, run: DagRunEvent, consumed: list[RowEvent]) -> Iterable[Violation]:
        events = [int((event.new or {})["event_id"]) for event in consumed]
        assets = {self._assets.get(event) for event in events}
        met = is_met(self._conditions.get(run.dag_id), assets)
        if not events or None in assets or met is None:
            return
        self._judged += 1
        before = [self._latest[run.dag_id]] if run.dag_id in self._latest else []
        self._latest[run.dag_id] = run
        if met:
            return
        had = ", ".join(f"event {event} of asset {self._assets[event]}" for event in sorted(events))
        fact = f"{run.process} made {run.run_id} of {run.dag_id} from {had} alone"
        yield self.violation(fact, None, run.t, *before, run)

    def abstention(self) -> str | None:
        """Say that nothing was set off."""
        return None if self._judged else "no run was set off by assets"

    def judged(self) -> int | None:
        """Count the runs that assets set off."""
        return self._judged

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "runs set off by assets"


def is_met(condition: Any, assets: Collection[int | None]) -> bool | None:
    """Tell whether events of these assets meet a condition as Airflow stores it; None: unknown."""
    if not isinstance(condition, dict):
        return None
    for word, fold in (("all", all), ("any", any)):
        if word in condition:
            parts = [is_met(part, assets) for part in condition[word]]
            return None if None in parts else fold(map(bool, parts))
    number = condition["asset"].get("id") if "asset" in condition else None
    return None if number is None else int(number) in assets
