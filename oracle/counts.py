"""Counts what a history holds, so that a verdict can say what it rests on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oracle.distinct import Distinct
from oracle.events import (
    DagRunEvent,
    Event,
    Header,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.states import IN_TRY, QUEUED, SCHEDULED, Roles


@dataclass(frozen=True)
class Counts:
    """The figures of a run.

    `double_executions`, `duplicate_pods` and `duplicate_tries` are the task instances with a
    violation of executed-once, single-live-pod and unique-try; `refused_starts` are all workers
    that the API turned away, by design or not; `decisions` are those of each scheduler, also of
    one that took none: task instances `scheduled` (a skipped queue counts), and `queued`.
    """

    runs: int
    task_instances: int
    pods: int
    refused_starts: int
    double_executions: int
    duplicate_pods: int
    duplicate_tries: int
    decisions: dict[str, dict[str, int]]


class HistoryCounts:
    """Counts task instances, runs, pods, refused starts and every scheduler's decisions.

    A task instance counts once it was seen in a try, or a scheduler settled it without one; rows
    that are only made, cleared, marked or deleted (`airflow db clean`) show nothing of scheduling.
    Neither do runs that are only deleted. Of each thing only a hash is kept (`Distinct`): a history
    may be as long as a day.
    """

    def __init__(self, header: Header) -> None:
        self.refused_starts = 0
        self.first_run_at: float | None = None
        self.decisions = {name: {"scheduled": 0, "queued": 0} for name in header.schedulers}
        self._workers = 0
        self._task_instances = Distinct()
        self._pods = Distinct()
        self._things: dict[type, Distinct] = {
            TaskInstanceEvent: self._task_instances,
            PodEvent: self._pods,
            DagRunEvent: Distinct(),
            LedgerEvent: Distinct(),
            ProcessEvent: Distinct(),
        }
        self._seen: set[type] = set()
        self._roles = Roles(header.schedulers)

    def counter(self, event: Event) -> Callable[[Any], None] | None:
        """Give what counts this event and those that are alike (`oracle.alike`), if any is."""
        kind = type(event)
        self._seen.add(kind)
        if isinstance(event, TaskInstanceEvent):
            return self._counter_of_change(event)
        counters: dict[type, Callable[[Any], None]] = {
            DagRunEvent: self._count_run,
            PodEvent: self._count_pod,
            WorkerEvent: self._count_worker,
            LedgerEvent: self._count_ledger,
            ProcessEvent: self._count_process,
        }
        return counters.get(kind)

    def saw(self, kind: type) -> bool:
        """Tell whether there was an event of a kind."""
        return kind in self._seen

    def number(self, kind: type) -> int:
        """Say of how many things there is evidence of a kind, a type of event.

        It is one thing however many events are about it; but each event of a worker is one.
        """
        return self._workers if kind is WorkerEvent else len(self._things[kind])

    def _counter_of_change(self, event: TaskInstanceEvent) -> Callable[[Any], None] | None:
        shows = self._shows_scheduling(event)
        decided = self._decided(event)
        if decided is None:
            return self._count_ti if shows else None
        decisions, kind = decided

        def count(event: TaskInstanceEvent) -> None:
            decisions[kind] += 1
            if shows:
                self._task_instances.add(event.ti)

        return count

    def _count_ti(self, event: TaskInstanceEvent) -> None:
        number = hash(event.ti)
        if number not in self._task_instances.recent:
            self._task_instances.put(number)

    def _count_run(self, event: DagRunEvent) -> None:
        if event.op == "delete":
            return
        if self.first_run_at is None:
            self.first_run_at = event.t
        self._things[DagRunEvent].add((event.dag_id, event.run_id))

    def _count_pod(self, event: PodEvent) -> None:
        number = hash(event.uid)
        if number not in self._pods.recent:
            self._pods.put(number)

    def _count_worker(self, event: WorkerEvent) -> None:
        self._workers += 1
        self.refused_starts += event.refused is not None

    def _count_ledger(self, event: LedgerEvent) -> None:
        self._things[LedgerEvent].add(event.ti)

    def _count_process(self, event: ProcessEvent) -> None:
        self._things[ProcessEvent].add(event.process)

    def _shows_scheduling(self, event: TaskInstanceEvent) -> bool:
        """Tell whether a change begins, goes on with or ends a try, or a scheduler settles it."""
        old, new = event.old, event.new
        if new is None:
            return False
        if new.state in IN_TRY:
            return True
        return (
            new.state is not None
            and old is not None
            and (self._roles.of(event.process) != "api-server" or old.state in IN_TRY)
        )

    def _decided(self, event: TaskInstanceEvent) -> tuple[dict[str, int], str] | None:
        """Return whose decision a change is, and of which kind; of other processes' none is."""
        old, new = event.old, event.new
        if old is None or new is None or self._roles.of(event.process) != "scheduler":
            return None
        decisions = self.decisions.setdefault(event.process, {"scheduled": 0, "queued": 0})
        raised = new.try_number > old.try_number and new.id == old.id
        if new.state == QUEUED != old.state:
            return decisions, "queued"
        if raised or new.state == SCHEDULED != old.state:
            return decisions, "scheduled"
        return None
