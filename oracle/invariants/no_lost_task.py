"""Does every run that was begun end?"""

from collections.abc import Iterable, Iterator

from oracle.events import (
    DagRunEvent,
    End,
    Event,
    FaultEvent,
    GateEvent,
    Header,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from oracle.invariants.base import Invariant, Violation
from oracle.invariants.signs_of_life import SignsOfLife
from oracle.states import IN_HAND, QUEUED, RUN_FINISHED, RUNNING, WAITING, shown

BOUND_SECONDS = 60.0
"""How long everything may stand still before what has not ended counts as lost."""

Run = tuple[str, str]


class NoLostTask(Invariant):
    """Nothing is forgotten: what a fault delayed is done once the fault is healed.

    Judged at the end of a history, if nothing moved in it for the bound: neither a row nor a
    fault or gate. As long as any task instance moves, another may rightly wait for its slot.
    Not lost is what waits for a time or an event that a history does not know (a retry delay, a
    poke, a trigger), what a live worker is busy with, and a queued run behind such a one.
    """

    name = "no-lost-task"
    promise = "Every run that was begun ends once the faults are healed"
    sees = (DagRunEvent, TaskInstanceEvent, PodEvent, LedgerEvent, FaultEvent, GateEvent, End)
    evidence = (DagRunEvent,)
    needs_a_clean_history = True

    def __init__(self, header: Header, bound: float = BOUND_SECONDS) -> None:
        super().__init__(header)
        self._bound = bound
        self._runs: dict[Run, str | None] = {}
        self._active: dict[TaskInstanceKey, str] = {}
        self._alive = SignsOfLife()
        self._disturbances: dict[tuple[str, str | None], str] = {}
        self._last = 0.0
        self._end: float | None = None
        self._abstention: str | None = None

    def feed(self, event: Event) -> Iterable[Violation]:
        """Follow what is begun and not ended; nothing can be said before the end."""
        if isinstance(event, TaskInstanceEvent):
            self._task_instance(event)
        elif isinstance(event, PodEvent | LedgerEvent):
            self._alive.feed(event)
        elif isinstance(event, DagRunEvent):
            self._run(event)
        elif isinstance(event, FaultEvent | GateEvent):
            self._disturbance(event)
        elif isinstance(event, End):
            self._end = event.t
        return ()

    def finish(self) -> Iterable[Violation]:
        """Report each run, and each task instance of a finished run, that was left behind."""
        self._abstention = self._why_not()
        return () if self._abstention else list(self._lost())

    def abstention(self) -> str | None:
        """Say why the end of this history proves nothing about what has not ended."""
        return self._abstention

    def _task_instance(self, event: TaskInstanceEvent) -> None:
        state = event.new.state if event.new else None
        if event.old and event.new and event.old.state == state:
            return
        self._last = max(self._last, event.t)
        if state in IN_HAND or state in WAITING:
            self._active[event.ti] = state
        else:
            self._active.pop(event.ti, None)

    def _run(self, event: DagRunEvent) -> None:
        self._last = max(self._last, event.t)
        run = (event.dag_id, event.run_id)
        if event.op == "delete" or event.new in RUN_FINISHED:
            self._runs.pop(run, None)
        else:
            self._runs[run] = event.new

    def _disturbance(self, event: FaultEvent | GateEvent) -> None:
        which = (event.name, event.process)
        if event.op in ("begin", "closed"):
            self._disturbances[which] = f"{event.name} was never ended"
        elif event.op in ("end", "opened"):
            self._disturbances.pop(which, None)
            self._last = max(self._last, event.t)

    def _why_not(self) -> str | None:
        if self._end is None:
            return "the history has no end"
        if not self._runs and not self._active:
            return None
        if self._disturbances:
            return next(iter(self._disturbances.values()))
        quiet = self._end - self._last
        if quiet <= self._bound:
            return (
                f"{len(self._runs)} runs had not ended, but something moved {quiet:.1f} s before "
                f"the end of the history, less than {self._bound:g} s"
            )
        return None

    def _lost(self) -> Iterator[Violation]:
        busy_runs = {
            (ti.dag_id, ti.run_id)
            for ti, state in self._active.items()
            if self._is_busy(ti, state) and (ti.dag_id, ti.run_id) in self._runs
        }
        busy_dags = {dag_id for dag_id, _ in busy_runs}
        for run, state in self._runs.items():
            if run not in busy_runs and not (state == QUEUED and run[0] in busy_dags):
                yield self._lost_run(run, state)
        for ti, state in self._active.items():
            if (ti.dag_id, ti.run_id) not in self._runs and not self._alive.of(ti, state):
                yield self.violation(f"{ti} was left {shown(state)} {self._for()}", ti, self._last)

    def _is_busy(self, ti: TaskInstanceKey, state: str) -> bool:
        return state in WAITING or (state == RUNNING and self._alive.of(ti, state))

    def _lost_run(self, run: Run, state: str | None) -> Violation:
        left = [ti for ti in self._active if (ti.dag_id, ti.run_id) == run]
        tasks = ", ".join(f"{ti.task_id} {shown(self._active[ti])}" for ti in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        fact = f"run {run[1]} of {run[0]} was left {shown(state)} {self._for()}"
        if left:
            fact += f" with {tasks}{more}"
        return self.violation(fact, left[0] if left else None, self._last)

    def _for(self) -> str:
        return f"for {(self._end or 0.0) - self._last:.1f} s"
