"""Counts what a history holds, so that a verdict can say what it rests on."""

from dataclasses import asdict, dataclass

from oracle.events import (
    DagRunEvent,
    Event,
    Header,
    PodEvent,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.states import QUEUED, SCHEDULED, Roles


@dataclass
class Decisions:
    """What one scheduler decided: task instances scheduled (a skipped queue counts), and queued."""

    scheduled: int = 0
    queued: int = 0


class Tally:
    """Counts task instances, runs, pods, refused starts and every scheduler's decisions.

    Of each thing only a hash is kept: a history may be as long as a day.
    """

    def __init__(self, header: Header) -> None:
        self.task_instances: set[int] = set()
        self.runs: set[int] = set()
        self.pods: set[int] = set()
        self.refused_starts = 0
        self.kinds: set[type] = set()
        self.first_run_at: float | None = None
        self._decisions = {name: Decisions() for name in header.schedulers}
        self._roles = Roles(header.schedulers)

    def feed(self, event: Event) -> None:
        """Count one event."""
        self.kinds.add(type(event))
        if isinstance(event, TaskInstanceEvent):
            self.task_instances.add(hash(event.ti))
            if self._roles.of(event.process) == "scheduler":
                self._decide(event)
        elif isinstance(event, PodEvent):
            self.pods.add(hash(event.uid))
        elif isinstance(event, WorkerEvent):
            self.refused_starts += event.refused is not None
        elif isinstance(event, DagRunEvent):
            self.runs.add(hash((event.dag_id, event.run_id)))
            if self.first_run_at is None:
                self.first_run_at = event.t

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
