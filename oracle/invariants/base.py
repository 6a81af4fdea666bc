"""What every invariant looks like, and what it reports."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from oracle.events import (
    BEGINS,
    ENDS,
    ArchivedEvent,
    AssumptionEvent,
    DagRunEvent,
    End,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WaitingEvent,
    WorkerEvent,
)
from oracle.states import Roles

UNITS: dict[type, str] = {
    TaskInstanceEvent: "task instances",
    PodEvent: "pods",
    WorkerEvent: "workers",
    LedgerEvent: "task instances with a ledger",
    DagRunEvent: "runs",
    ProcessEvent: "processes",
}
"""What a kind of event is evidence of."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that a history shows broken.

    The message states the promise and then the fact that breaks it; `t` is when it broke, in
    seconds since the history's epoch; `events` are the witness, oldest first.
    """

    invariant: str
    message: str
    ti: TaskInstanceKey | None
    t: float
    events: tuple[Event, ...] = ()


Found = Iterable[Violation] | None
"""What an event shows broken; most show nothing."""

HANDLERS: dict[type, str] = {
    TaskInstanceEvent: "on_row",
    ArchivedEvent: "on_archived",
    DagRunEvent: "on_run",
    PodEvent: "on_pod",
    WorkerEvent: "on_worker",
    LedgerEvent: "on_code",
    ProcessEvent: "on_process",
    FaultEvent: "on_disturbance",
    HoldEvent: "on_disturbance",
    AssumptionEvent: "on_assumption",
    WaitingEvent: "on_waiting",
    End: "on_end",
}
"""By the kind of an event, the method of an invariant that takes it."""


class Invariant:
    """A promise of Airflow, judged from a history alone, one event at a time.

    It sees the kinds of events that it has a method for, live or from a file alike, so it must not
    need the future to stay quiet: what is legal by any released Airflow never is a violation.
    Without an event of its `evidence` there was nothing to judge, which is not the same as nothing
    wrong.
    """

    name: ClassVar[str]
    promise: ClassVar[str]
    evidence: ClassVar[type[msgspec.Struct]]
    needs_a_clean_history: ClassVar[bool] = False
    """Whether it has nothing to say of a history that another invariant found wanting."""

    def __init__(self, header: Header) -> None:
        self._roles = Roles(header.schedulers)

    def on_row(self, event: TaskInstanceEvent) -> Found:
        """Take a change of a row of `task_instance`; report what it shows broken."""

    def on_archived(self, event: ArchivedEvent) -> Found:
        """Take a change of an archived attempt."""

    def on_run(self, event: DagRunEvent) -> Found:
        """Take a change of a DAG run."""

    def on_pod(self, event: PodEvent) -> Found:
        """Take what became of a pod."""

    def on_worker(self, event: WorkerEvent) -> Found:
        """Take how a worker ended."""

    def on_code(self, event: LedgerEvent) -> Found:
        """Take what the user's code wrote itself."""

    def on_process(self, event: ProcessEvent) -> Found:
        """Take that one of Airflow's daemons ended, or is there."""

    def on_disturbance(self, event: FaultEvent | HoldEvent) -> Found:
        """Take the beginning or the end of a fault, or of a hold."""

    def on_assumption(self, event: AssumptionEvent) -> Found:
        """Take what whoever made the history states."""

    def on_waiting(self, event: WaitingEvent) -> Found:
        """Take why something may rightly wait."""

    def on_end(self, event: End) -> Found:
        """Take the end of the history."""

    def finish(self) -> Iterable[Violation]:
        """Report what only the end of the history shows broken."""
        return ()

    def abstention(self) -> str | None:
        """Say, after `finish`, why nothing could be judged; None if it was judged."""
        return None

    def judged(self) -> int | None:
        """Say how many of its `units` it judged; None for all that there is evidence of."""
        return None

    @classmethod
    def units(cls) -> str:
        """Say what it judges, in a plural."""
        return UNITS[cls.evidence]

    def handlers(self) -> Iterator[tuple[type, Callable[[Any], Found]]]:
        """Give the kinds of events that it sees, each with its method."""
        for kind, name in HANDLERS.items():
            if getattr(type(self), name) is not getattr(Invariant, name):
                yield kind, getattr(self, name)

    def is_scheduler(self, process: str) -> bool:
        """Tell whether a process is a scheduler."""
        return self._roles.of(process) == "scheduler"

    def violation(
        self, fact: str, ti: TaskInstanceKey | None, t: float, *events: Event
    ) -> Violation:
        """Put the promise and the fact that breaks it into one sentence."""
        return Violation(self.name, f"{self.promise}, but {fact}", ti, t, events)


class Disturbances:
    """Follows faults and holds: which are on, and when one ended last (-inf if none has)."""

    def __init__(self) -> None:
        self.on: dict[tuple[type, str, str | None], FaultEvent | HoldEvent] = {}
        self.last_end = float("-inf")

    def feed(self, event: FaultEvent | HoldEvent) -> None:
        """Follow one."""
        which = (type(event), event.name, event.process)
        if event.op in BEGINS:
            self.on[which] = event
        elif event.op in ENDS:
            self.on.pop(which, None)
            self.last_end = event.t
