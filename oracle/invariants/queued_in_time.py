"""Is a scheduled task instance queued while a scheduler is free to do it?"""

from collections.abc import Iterator

from oracle.distinct import Distinct
from oracle.events import (
    BEGINS,
    AssumptionEvent,
    DagRunEvent,
    FaultEvent,
    Header,
    HoldEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from oracle.invariants.base import Invariant, Violation
from oracle.states import RUNNING, SCHEDULED

FREE = "free-"
"""The assumption that arms this invariant is this word and a scheduler's name, `free-scheduler-2`:
from here on nothing disturbs that scheduler, no DAG is paused, and its executor, the pools and
every limit on active tasks have room for all there is. No history shows that by itself."""

BOUND_SECONDS = 30.0
"""After so long without a heartbeat Airflow itself counts a scheduler as dead
(`[scheduler] scheduler_health_check_threshold`); the others should have taken over by then."""

BEGUN_RUNS = 3
"""In so many loops the free scheduler begins runs while a task instance waits: one before the
bound's time passes and two after it. Each loop goes on to the critical section, so by the last it
has been there after the bound, also where the whole machine stood still in between."""


class QueuedInTime(Invariant):
    """One scheduler that hangs does not keep the others from queueing.

    Judged only where the one who made the history states that a scheduler is free (`FREE`): full
    pools, limits and a slow flood make task instances wait too, and a history does not know them.
    The statement holds until a fault or a hold strikes that scheduler, or not just one other. Its
    own deeds show that it was at work before the bound and after it; where they do not, because
    it is slow, dead or has no run to begin, nothing is judged.
    """

    name = "queued-in-time"
    promise = "A scheduled task instance is queued as long as one scheduler is free to do it"
    evidence = TaskInstanceEvent

    def __init__(self, header: Header, bound: float = BOUND_SECONDS) -> None:
        super().__init__(header)
        self._bound = bound
        self._schedulers = frozenset(header.schedulers)
        self._begun: dict[str, list[DagRunEvent]] = {}
        self._running: set[tuple[str, str]] = set()
        self._waiting: dict[TaskInstanceKey, float] = {}
        self._reached = False
        self._judged = Distinct()

    def abstention(self) -> str | None:
        """Say that no scheduler was free and at work for long enough, if so."""
        if self._reached:
            return None
        return f"no scheduler was stated to be free and seen at work for {self._bound:g} s"

    def judged(self) -> int:
        """Say how many task instances waited while a scheduler was stated to be free."""
        return len(self._judged)

    def on_assumption(self, event: AssumptionEvent) -> None:
        """Follow which schedulers are stated to be free."""
        process = event.name.removeprefix(FREE)
        if not event.name.startswith(FREE) or not self.is_scheduler(process):
            return
        if event.met:
            self._begun.setdefault(process, [])
        else:
            self._begun.pop(process, None)

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Take nobody for free whom it strikes."""
        if event.op not in BEGINS:
            return
        if event.process in self._schedulers:
            self._begun.pop(event.process, None)
        else:
            self._begun.clear()

    on_hold = on_fault

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what begins to wait, and what ends it."""
        old, new = event.old, event.new
        return new is None or new.state != SCHEDULED or old is None or old.state != SCHEDULED

    def on_ti(self, event: TaskInstanceEvent) -> None:
        """Follow which task instances wait."""
        if event.new is None or event.new.state != SCHEDULED:
            self._waiting.pop(event.ti, None)
        elif event.old is None or event.old.state != SCHEDULED:
            self._waiting[event.ti] = event.t
            if self._begun:
                self._judged.add(event.ti)

    def on_run(self, event: DagRunEvent) -> Iterator[Violation]:
        """Report whom a free scheduler leaves waiting, when it begins a run."""
        run = (event.dag_id, event.run_id)
        if event.new != RUNNING:
            self._running.discard(run)
            return
        self._running.add(run)
        begun = self._begun.get(event.process)
        if begun is None or event.old == RUNNING or (begun and begun[-1].t == event.t):
            return
        begun.append(event)
        self._reached = self._reached or self._too_long(begun)
        if self._reached:
            self._forget(begun)
        for ti, since in list(self._waiting.items()):
            meanwhile = [one for one in begun if one.t > since]
            if (ti.dag_id, ti.run_id) in self._running and self._too_long(meanwhile):
                del self._waiting[ti]
                yield self._stalled(ti, since, meanwhile)

    def _forget(self, begun: list[DagRunEvent]) -> None:
        """Forget the runs, but the last, that began before all that waits now began to wait."""
        oldest = min(self._waiting.values(), default=begun[-1].t)
        begun[:-1] = [one for one in begun[:-1] if one.t > oldest]

    def _too_long(self, begun: list[DagRunEvent]) -> bool:
        return len(begun) >= BEGUN_RUNS and begun[-2].t - begun[0].t >= self._bound

    def _stalled(self, ti: TaskInstanceKey, since: float, begun: list[DagRunEvent]) -> Violation:
        last = begun[-1]
        fact = (
            f"{ti} was left SCHEDULED for {last.t - since:.1f} s while {last.process}, free all "
            f"along, began {len(begun)} runs"
        )
        return self.violation(fact, ti, last.t, *begun)
