"""Does every run that was begun end?"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

from oracle.distinct import Distinct
from oracle.events import (
    WAITS_KNOWN,
    AssumptionEvent,
    DagRunEvent,
    End,
    FaultEvent,
    Header,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WaitingEvent,
)
from oracle.invariants.base import Disturbances, Invariant, Violation
from oracle.states import QUEUED, RUNNING, SCHEDULED, WAITING, shown
from oracle.unended import Run, Unended, run_of

BOUND_SECONDS = 60.0
"""How long everything may stand still before what has not ended counts as lost."""

Lot = Literal["busy", "idle", "unknown", "waits"]
"""What is with something that has not ended: somebody is at it; nobody is, though somebody should
be; it is out of sight; nobody is, and rightly so."""


class NoLostTask(Invariant):
    """Nothing is forgotten: what a fault delayed is done once the fault is healed.

    Judged at the end of a history, if nothing moved in it for the bound: neither a row nor a
    fault or hold. As long as any task instance moves, another may rightly wait for its slot.

    Not lost is what waits for a time or an event that a history does not know (a retry delay, a
    poke, a trigger), what a live worker or a pod on its way is busy with, a queued run behind such
    a one, and what Airflow's own settings hold back (`WaitingEvent`: a paused DAG, max_active_runs,
    depends_on_past, a full pool).

    Not judged is what is out of sight: a running task instance of which no pod and no code was
    ever seen is another executor's, or older than the history; one that is SCHEDULED while others
    run may wait for `[core] parallelism`, unless more of them were let through before.
    """

    name = "no-lost-task"
    promise = "Every run that was begun ends once the faults are healed"
    evidence = DagRunEvent
    needs_a_clean_history = True

    def __init__(self, header: Header, bound: float = BOUND_SECONDS) -> None:
        super().__init__(header)
        self._bound = bound
        self._out_of_sight = bool(header.not_covered)
        self._unended = Unended()
        self._life = SignsOfLife()
        self.on_ti = self._unended.feed_task
        self.on_run = self._unended.feed_run
        self.on_pod = self._life.feed_pod
        self.on_ledger = self._life.feed_code
        self._alive: dict[TaskInstanceKey, bool] = {}
        self._waits: dict[tuple[str, str, str | None, str | None], str] = {}
        self._disturbances = Disturbances()
        self._end: float | None = None
        self._abstention: str | None = None

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what moves."""
        return event.old is None or event.new is None or event.old.state != event.new.state

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs."""
        self._disturbances.feed(event)

    on_hold = on_fault

    def on_waiting(self, event: WaitingEvent) -> None:
        """Remember what may rightly wait."""
        self._waits[event.dag_id, event.run_id, event.task_id, event.state] = event.why

    def on_assumption(self, event: AssumptionEvent) -> None:
        """Abstain where nobody knows what may rightly wait."""
        if event.name == WAITS_KNOWN and not event.met:
            self._abstention = f"why runs wait is not known: {event.value}"

    def on_end(self, event: End) -> None:
        """Take note of when the history ends."""
        self._end = event.t

    def finish(self) -> Iterable[Violation]:
        """Report each run, and each task instance of a finished run, that was left behind."""
        self._abstention = self._why_not()
        if self._abstention:
            return ()
        self._alive = self._life.alive()
        lots = {ti: self._lot(ti, state) for ti, state in self._unended.tasks.items()}
        found = [*self._lost_runs(lots), *self._lost_tasks(lots)]
        if found:
            self._abstention = None
        return found

    def abstention(self) -> str | None:
        """Say why the end of this history proves nothing about what has not ended."""
        return self._abstention

    @property
    def _last(self) -> float:
        return max(self._disturbances.last_end, self._unended.last)

    def _why_not(self) -> str | None:
        if self._end is None:
            return "the history has no end"
        if not self._unended.runs and not self._unended.tasks:
            return None
        if self._disturbances.on:
            return f"{next(iter(self._disturbances.on.values())).name} was never ended"
        quiet = self._end - self._last
        if quiet <= self._bound:
            return (
                f"{len(self._unended.runs)} runs had not ended, but something moved {quiet:.1f} s "
                f"before the end of the history, less than {self._bound:g} s"
            )
        return self._abstention

    def _lot(self, ti: TaskInstanceKey, state: str) -> Lot:
        """Say what is with a task instance that has not ended."""
        if state in WAITING:
            return "busy"
        if state == RUNNING:
            if self._alive.get(ti):
                return "busy"
            lot: Lot = "idle" if self._was_seen(ti) else "unknown"
        elif state == QUEUED:
            if ti in self._alive:
                return "busy"
            lot = "unknown" if self._out_of_sight and not self._was_seen(ti) else "idle"
        elif state == SCHEDULED and (*run_of(ti), None, None) in self._waits:
            return "waits"
        else:
            lot = "unknown" if state == SCHEDULED and self._may_be_full() else "idle"
        return "waits" if (*run_of(ti), ti.task_id, state) in self._waits else lot

    def _was_seen(self, ti: TaskInstanceKey) -> bool:
        return ti in self._alive or self._life.ended(ti)

    def _may_be_full(self) -> bool:
        """Tell whether the executors may have no slot left, as far as was seen until now."""
        if self._unended.has_seen_more():
            return False
        return any(
            (state == RUNNING and (self._alive.get(ti) or not self._was_seen(ti)))
            or (state == QUEUED and ti in self._alive)
            for ti, state in self._unended.tasks.items()
        )

    def _lost_runs(self, lots: dict[TaskInstanceKey, Lot]) -> Iterator[Violation]:
        left: defaultdict[Run, list[TaskInstanceKey]] = defaultdict(list)
        for ti in lots:
            left[run_of(ti)].append(ti)
        held = {key[:2] for key in self._waits}
        runs = {
            run: _lot_of_run({lots[ti] for ti in left[run]}, run in held)
            for run in self._unended.runs
        }
        dags: defaultdict[str, set[Lot]] = defaultdict(set)
        for (dag_id, _), lot in runs.items():
            dags[dag_id].add(lot)
        for run, state in self._unended.runs.items():
            lot = runs[run]
            if lot == "idle" and state == QUEUED:
                lot = _lot_behind(dags[run[0]])
            if lot == "idle":
                yield self._lost_run(
                    run, state, sorted(left[run], key=lambda ti: lots[ti] != "idle")
                )
            elif lot == "unknown":
                unknown = next((ti for ti in left[run] if lots[ti] == "unknown"), None)
                self._doubt(f"run {run[1]} of {run[0]} was left {shown(state)}", unknown)

    def _lost_tasks(self, lots: dict[TaskInstanceKey, Lot]) -> Iterator[Violation]:
        """Report what was left in a run that has ended, or that began before the history."""
        for ti, lot in lots.items():
            if run_of(ti) in self._unended.runs:
                continue
            state = shown(self._unended.tasks[ti])
            if lot == "idle":
                yield self.violation(f"{ti} was left {state} {self._for()}", ti, self._last)
            elif lot == "unknown":
                self._doubt(f"{ti} was left {state}", ti)

    def _doubt(self, what: str, ti: TaskInstanceKey | None) -> None:
        """Abstain, for the first thing of which nobody knows what is with it."""
        if self._abstention is not None:
            return
        if ti is None:
            why = "it may wait for a run of which that is not known"
        elif self._unended.tasks[ti] == SCHEDULED:
            why = f"{ti.task_id} may wait for a slot of the executors, others are at work"
        else:
            why = f"no pod of {ti.task_id} was ever seen: it may be another executor's"
        self._abstention = f"{what} {self._for()}, but {why}"

    def _lost_run(self, run: Run, state: str | None, left: list[TaskInstanceKey]) -> Violation:
        """Report a run; of its task instances `left`, the first ones are those to blame."""
        tasks = self._unended.tasks
        shown_tasks = ", ".join(f"{ti.task_id} {shown(tasks[ti])}" for ti in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        fact = f"run {run[1]} of {run[0]} was left {shown(state)} {self._for()}"
        if left:
            fact += f" with {shown_tasks}{more}"
        return self.violation(fact, left[0] if left else None, self._last)

    def _for(self) -> str:
        return f"for {(self._end or 0.0) - self._last:.1f} s"


def _lot_of_run(inside: set[Lot], held: bool) -> Lot:
    for lot in ("busy", "idle", "unknown"):
        if lot in inside:
            return lot
    return "waits" if held else "idle"


def _lot_behind(others: set[Lot]) -> Lot:
    """Say what is with a queued run, by the other runs of its DAG: it may wait for their end."""
    return "busy" if "busy" in others else "unknown" if "unknown" in others else "idle"


class SignsOfLife:
    """Remembers the live pods and the unfinished user code of each task instance.

    Pods and code of some task instances are out of a recorder's sight: what another executor runs,
    what began before it, what is in another namespace. So it also remembers of which task
    instances it ever saw anything; of the others nothing is known.
    """

    def __init__(self) -> None:
        self._pods: dict[str, tuple[TaskInstanceKey, bool]] = {}
        """By name, the pods that have not ended: whose, and whether each has begun to work."""
        self._ended = Distinct()

    def feed_pod(self, event: PodEvent) -> None:
        """Take note of what became of a pod."""
        ti = event.ti
        if ti is None:
            return
        working = event.phase == "Running"
        if event.over or (event.deleting and not working):
            self._pods.pop(event.name, None)
            self._ended.add(ti)
        else:
            self._pods[event.name] = (ti, working)

    def feed_code(self, event: LedgerEvent) -> None:
        """Take note of user code that began or ended."""
        if event.op == "start":
            self._pods[event.pod] = (event.ti, True)
        else:
            self._pods.pop(event.pod, None)
            self._ended.add(event.ti)

    def alive(self) -> dict[TaskInstanceKey, bool]:
        """Return the task instances that have a pod, and whether a worker is at work on each.

        A pod that is not at work waits for its node, or has come.
        """
        alive: defaultdict[TaskInstanceKey, bool] = defaultdict(bool)
        for ti, working in self._pods.values():
            alive[ti] |= working
        return dict(alive)

    def ended(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a pod or user code of a task instance ever ended."""
        return ti in self._ended
