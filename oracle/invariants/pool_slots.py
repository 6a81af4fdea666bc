"""Are no more slots of a pool taken than it has?"""

from collections.abc import Iterable

from oracle.distinct import Distinct
from oracle.events import Header, Row, RowEvent, TaskInstanceEvent, TaskInstanceKey
from oracle.invariants.base import Violation
from oracle.invariants.commits import AtCommits
from oracle.states import DEFERRED, QUEUED, RUNNING


class PoolSlots(AtCommits):
    """A pool guards what stands behind it: a database that bears five connections, a licence.

    Schedulers queue task instances while they hold the locks of the pools
    (`Pool.slots_stats(lock_rows=True)`). Queued and running ones take their slots, deferred ones
    where the pool includes them; -1 slots are no limit. A pool that is made smaller while its
    slots are taken is no violation, nor is a task instance that takes them back from a trigger's
    event where its scheduler does not count deferred ones.
    """

    name = "pool-slots"
    promise = "No more slots of a pool are taken at once than it has"
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._pools: dict[str, tuple[int, bool]] = {}
        self._taken: dict[str, dict[int, int]] = {}
        self._begun: dict[str, TaskInstanceEvent] = {}
        self._judged = Distinct()

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Learn a pool's size."""
        found = list(self.begin(event))
        if event.table == "slot_pool" and event.new:
            deferred = bool(event.new.get("include_deferred"))
            self._pools[str(event.new["pool"])] = (int(event.new["slots"]), deferred)
        return found

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what may take slots or give them back."""
        states = (QUEUED, RUNNING, DEFERRED)
        return any(row is not None and row.state in states for row in (event.old, event.new))

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Count slots."""
        if not self.heeds_ti(event):
            return ()
        found = list(self.begin(event))
        if event.old is not None and event.old.pool is not None:
            self._free(event.old.pool, event.ti)
        row = event.new
        if row is not None and row.pool is not None and self._takes(row):
            self._taken.setdefault(row.pool, {})[hash(event.ti)] = row.pool_slots
            if row.state == QUEUED and self.is_scheduler(event.process):
                self._begun[row.pool] = event
        return found

    def _free(self, pool: str, ti: TaskInstanceKey) -> None:
        taken = self._taken.get(pool)
        if taken is not None and taken.pop(hash(ti), None) is not None and not taken:
            del self._taken[pool]

    def _takes(self, row: Row) -> bool:
        _, deferred = self._pools.get(row.pool or "", (0, False))
        return row.state in (QUEUED, RUNNING) or (deferred and row.state == DEFERRED)

    def over(self) -> Iterable[Violation]:
        """Compare what is taken with what there is, where a scheduler queued something."""
        begun, self._begun = self._begun, {}
        for pool, event in begun.items():
            slots, _ = self._pools.get(pool, (-1, False))
            self._judged.add(event.ti)
            taken = sum(self._taken.get(pool, {}).values())
            if 0 <= slots < taken:
                fact = f"{event.process} queued it, and then {taken} were, of {slots} of {pool}"
                yield self.violation(fact, event.ti, event.t, event)

    def abstention(self) -> str | None:
        """Say that no pool is known."""
        return super().abstention() or (None if self._pools else "no pool's size was recorded")

    def judged(self) -> int | None:
        """Count the task instances after whose queueing a pool was looked at."""
        return len(self._judged)
