"""Counts what a history holds, so that a verdict can say what it rests on."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from oracle.events import (
    DagRunEvent,
    Event,
    Header,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    Row,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.states import IN_TRY, QUEUED, SCHEDULED, Roles

_THING: dict[type, Callable[[Any], object]] = {
    TaskInstanceEvent: attrgetter("ti"),
    DagRunEvent: attrgetter("dag_id", "run_id"),
    PodEvent: attrgetter("uid"),
    LedgerEvent: attrgetter("ti"),
    ProcessEvent: attrgetter("process"),
}
"""By the kind of an event, what it is evidence of, one thing however many events; of any other
kind, each event is one."""


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
    Neither do runs that are only deleted. Of each thing only a hash is kept: a history may be as
    long as a day.
    """

    def __init__(self, header: Header) -> None:
        self.refused_starts = 0
        self.first_run_at: float | None = None
        self.decisions = {name: {"scheduled": 0, "queued": 0} for name in header.schedulers}
        self._things: defaultdict[type, set[int]] = defaultdict(set)
        self._events: Counter[type] = Counter()
        self._roles = Roles(header.schedulers)

    def feed(self, event: Event) -> None:
        """Count one event."""
        kind = type(event)
        self._events[kind] += 1
        if isinstance(event, TaskInstanceEvent):
            if not self._shows_scheduling(event):
                return
        elif isinstance(event, DagRunEvent):
            if event.op == "delete":
                return
            if self.first_run_at is None:
                self.first_run_at = event.t
        elif isinstance(event, WorkerEvent):
            self.refused_starts += event.refused is not None
        if thing := _THING.get(kind):
            self._things[kind].add(hash(thing(event)))

    def saw(self, kind: type) -> bool:
        """Tell whether there was an event of a kind."""
        return kind in self._events

    def number(self, kind: type) -> int:
        """Say of how many things there is evidence of a kind, a type of event."""
        return len(self._things[kind]) if kind in _THING else self._events[kind]

    def _shows_scheduling(self, event: TaskInstanceEvent) -> bool:
        """Tell whether a change begins, goes on with or ends a try, or a scheduler settles it."""
        old, new = event.old, event.new
        role = self._roles.of(event.process)
        if new is None:
            return False
        if old is not None and role == "scheduler":
            self._decide(event.process, old, new)
        if new.state in IN_TRY:
            return True
        return (
            new.state is not None
            and old is not None
            and (role != "api-server" or old.state in IN_TRY)
        )

    def _decide(self, scheduler: str, old: Row, new: Row) -> None:
        decisions = self.decisions.setdefault(scheduler, {"scheduled": 0, "queued": 0})
        raised = new.try_number > old.try_number and new.id == old.id
        if new.state == QUEUED != old.state:
            decisions["queued"] += 1
        elif raised or new.state == SCHEDULED != old.state:
            decisions["scheduled"] += 1
