"""Is the user's code of a task instance run once, and by one worker at a time?"""

from collections.abc import Iterable

from oracle.events import (
    Header,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.invariants.base import Invariant, Violation
from oracle.states import RESTARTING, RUNNING, SUCCESS, UP_FOR_RETRY


class ExecutedOnce(Invariant):
    """What Airflow is for: the code runs, once; told by the code itself, not by Airflow's rows.

    Completing again is right after a clear, and after a retry of the very try that completed: its
    worker died before it could report, or completed-work-stands has it. Begun and not completed is
    no completion: a sensor that is rescheduled and a deferred task leave a start with no end. An
    execution is over by its own word, with its pod or worker, or when the API server took the task
    instance out of RUNNING, for that is its worker's report or a user's wish.
    """

    name = "executed-once"
    promise = "The user code of a task instance completes once and never overlaps itself"
    evidence = LedgerEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._open: dict[TaskInstanceKey, list[LedgerEvent]] = {}
        self._completed: dict[TaskInstanceKey, LedgerEvent] = {}

    def on_ledger(self, event: LedgerEvent) -> Iterable[Violation]:
        """Follow the executions of each task instance."""
        return self._start(event) if event.op == "start" else self._stop(event)

    def on_pod(self, event: PodEvent) -> None:
        """End what ran in a pod that is over."""
        if event.ti in self._open and event.over:
            self._close(event.ti, event.name)

    def on_worker(self, event: WorkerEvent) -> None:
        """End what a worker ran that has ended."""
        if event.ti in self._open:
            self._close(event.ti, event.pod)

    def _start(self, event: LedgerEvent) -> Iterable[Violation]:
        others = [one for one in self._open.get(event.ti, ()) if not _same(one, event)]
        self._open[event.ti] = [*others, event]
        if not others:
            return ()
        fact = f"it began in {event.where} while it ran in {others[0].where}"
        return (self.violation(fact, event.ti, event.t, others[0], event),)

    def _stop(self, event: LedgerEvent) -> Iterable[Violation]:
        left = [one for one in self._open.pop(event.ti, ()) if not _same(one, event)]
        if left:
            self._open[event.ti] = left
        if event.op == "fail":
            return ()
        before = self._completed.get(event.ti)
        self._completed[event.ti] = event
        if before is None:
            return ()
        fact = f"it completed in {event.where} after it had completed in {before.where}"
        return (self.violation(fact, event.ti, event.t, before, event),)

    def on_ti(self, event: TaskInstanceEvent) -> None:
        """Follow what Airflow takes for ended, and what may be done again."""
        old, new = event.old, event.new
        if old is None:
            return
        if new is None:
            self._completed.pop(event.ti, None)
            self._open.pop(event.ti, None)
            return
        by_scheduler = self.is_scheduler(event.process)
        if old.state == RUNNING != new.state and not by_scheduler:
            self._open.pop(event.ti, None)
        done = self._completed.get(event.ti)
        if done is None or (by_scheduler and old.state == SUCCESS):
            return
        retried = new.state == UP_FOR_RETRY and old.try_number == done.try_number
        if retried or new.state is None or new.state == RESTARTING:
            del self._completed[event.ti]

    def _close(self, ti: TaskInstanceKey, pod: str) -> None:
        left = [one for one in self._open.pop(ti, ()) if one.pod != pod]
        if left:
            self._open[ti] = left


def _same(one: LedgerEvent, other: LedgerEvent) -> bool:
    return one.pod == other.pod and one.pid == other.pid
