"""Is the user's code of a task instance run once, and by one worker at a time?"""

from collections.abc import Iterable

import msgspec

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

_AGAIN = frozenset({UP_FOR_RETRY, RESTARTING, None})
"""A task instance in one of these may be done again."""


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
        self._completed = _Completed()

    def on_ledger(self, event: LedgerEvent) -> Iterable[Violation]:
        """Follow the executions of each task instance."""
        return self._start(event) if event.op == "start" else self._stop(event)

    def heeds_pod(self, event: PodEvent) -> bool:
        """Want those that are over."""
        return event.over

    def on_pod(self, event: PodEvent) -> None:
        """End what ran in a pod that is over."""
        if self._open and event.ti in self._open and event.over:
            self._close(event.ti, event.name)

    def on_worker(self, event: WorkerEvent) -> None:
        """End what a worker ran that has ended."""
        if self._open and event.ti in self._open:
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
        self._completed.put(event)
        if before is None:
            return ()
        fact = f"it completed in {event.where} after it had completed in {before.where}"
        return (self.violation(fact, event.ti, event.t, before, event),)

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what ends an execution, or lets it be done again."""
        old, new = event.old, event.new
        if old is None or new is None:
            return old is not None
        return old.state == RUNNING != new.state or new.state in _AGAIN

    def on_ti(self, event: TaskInstanceEvent) -> None:
        """Follow what Airflow takes for ended, and what may be done again."""
        old, new = event.old, event.new
        if old is None or not (self._open or self._completed):
            return
        if new is None:
            self._completed.discard(event.ti)
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
            self._completed.discard(event.ti)

    def _close(self, ti: TaskInstanceKey, pod: str) -> None:
        left = [one for one in self._open.pop(ti, ()) if one.pod != pod]
        if left:
            self._open[ti] = left


class _Completed:
    """The latest completion of each task instance, for ever: of any the next may be one too many.

    Packed, for a history may be as long as a day: some 250 bytes each, by the hash of whose it is.
    """

    def __init__(self) -> None:
        self._packed: dict[int, bytes] = {}
        self._decoder = msgspec.msgpack.Decoder(LedgerEvent)

    def __bool__(self) -> bool:
        return bool(self._packed)

    def put(self, event: LedgerEvent) -> None:
        self._packed[hash(event.ti)] = msgspec.msgpack.encode(event)

    def get(self, ti: TaskInstanceKey) -> LedgerEvent | None:
        packed = self._packed.get(hash(ti))
        if packed is None:
            return None
        event = self._decoder.decode(packed)
        return event if event.ti == ti else None

    def discard(self, ti: TaskInstanceKey) -> None:
        self._packed.pop(hash(ti), None)


def _same(one: LedgerEvent, other: LedgerEvent) -> bool:
    return one.pod == other.pod and one.pid == other.pid
