"""Counts what a history holds, so that a verdict can say what it rests on."""

from dataclasses import asdict, dataclass

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
from oracle.states import IN_TRY, QUEUED, SCHEDULED, Role, Roles


@dataclass
class Decisions:
    """What one scheduler decided: task instances scheduled (a skipped queue counts), and queued."""

    scheduled: int = 0
    queued: int = 0


class Tally:
    """Counts task instances, runs, pods, refused starts and every scheduler's decisions.

    A task instance counts once it was seen in a try, or a scheduler settled it without one; rows
    that are only made, cleared, marked or deleted (`airflow db clean`) show nothing of scheduling.
    Neither do runs that are only deleted. Of each thing only a hash is kept: a history may be as
    long as a day.
    """

    def __init__(self, header: Header) -> None:
        self.task_instances: set[int] = set()
        self.runs: set[int] = set()
        self.pods: set[int] = set()
        self.executed: set[int] = set()
        self.processes: set[int] = set()
        self.workers = 0
        self.refused_starts = 0
        self.kinds: set[type] = set()
        self.first_run_at: float | None = None
        self._decisions = {name: Decisions() for name in header.schedulers}
        self._roles = Roles(header.schedulers)

    def feed(self, event: Event) -> None:
        """Count one event."""
        self.kinds.add(type(event))
        if isinstance(event, TaskInstanceEvent):
            new = event.new
            role = self._roles.of(event.process)
            if new is not None and (new.state in IN_TRY or _settles(event, role)):
                self.task_instances.add(hash(event.ti))
            if role == "scheduler":
                self._decide(event)
        elif isinstance(event, PodEvent):
            self.pods.add(hash(event.uid))
        elif isinstance(event, WorkerEvent):
            self.workers += 1
            self.refused_starts += event.refused is not None
        elif isinstance(event, LedgerEvent):
            self.executed.add(hash(event.ti))
        elif isinstance(event, ProcessEvent):
            self.processes.add(hash(event.process))
        elif isinstance(event, DagRunEvent) and event.op != "delete":
            self.runs.add(hash((event.dag_id, event.run_id)))
            if self.first_run_at is None:
                self.first_run_at = event.t

    def number(self, kind: type) -> int:
        """Say of how many things there is evidence of a kind, a type of event."""
        if kind is WorkerEvent:
            return self.workers
        things: dict[type, set[int]] = {
            TaskInstanceEvent: self.task_instances,
            LedgerEvent: self.executed,
            PodEvent: self.pods,
            DagRunEvent: self.runs,
            ProcessEvent: self.processes,
        }
        return len(things.get(kind, set()))

    def decisions(self) -> dict[str, dict[str, int]]:
        """Give the decisions of each scheduler, also of one that took none."""
        return {name: asdict(decisions) for name, decisions in self._decisions.items()}

    def _decide(self, event: TaskInstanceEvent) -> None:
        old, new = event.old, event.new
        if old is None or new is None:
            return
        decisions = self._decisions.get(event.process)
        if decisions is None:
            decisions = self._decisions[event.process] = Decisions()
        raised = new.try_number > old.try_number and new.id == old.id
        if new.state == QUEUED != old.state:
            decisions.queued += 1
        elif raised or new.state == SCHEDULED != old.state:
            decisions.scheduled += 1


def _settles(event: TaskInstanceEvent, role: Role) -> bool:
    """Tell whether a try ends by a change, or a scheduler does without one."""
    old, new = event.old, event.new
    if old is None or new is None or new.state is None:
        return False
    return role != "api-server" or old.state in IN_TRY
