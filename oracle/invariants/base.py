"""What every invariant looks like, and what it reports."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import msgspec

from oracle.events import (
    DagRunEvent,
    Event,
    Header,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
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


class Invariant(Protocol):
    """A promise of Airflow, judged from a history alone, one event at a time.

    It is told only the events it `sees`, live or from a file alike, so it must not need the
    future to stay quiet: what is legal by any released Airflow never is a violation. Without an
    event of its `evidence` there was nothing to judge, which is not the same as nothing wrong.
    """

    name: ClassVar[str]
    promise: ClassVar[str]
    sees: ClassVar[tuple[type, ...]]
    evidence: ClassVar[tuple[type[msgspec.Struct], ...]]
    needs_a_clean_history: ClassVar[bool] = False
    """Whether it has nothing to say of a history that another invariant found wanting."""
    roles: Roles

    def __init__(self, header: Header) -> None:
        self.roles = Roles(header.schedulers)

    def feed(self, event: Event) -> Iterable[Violation]:
        """Take the next event; report what it shows broken."""
        ...

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
        """Say what it judges, in a plural: by the first of its evidence."""
        return UNITS[cls.evidence[0]]

    def violation(
        self, fact: str, ti: TaskInstanceKey | None, t: float, *events: Event
    ) -> Violation:
        """Put the promise and the fact that breaks it into one sentence."""
        return Violation(self.name, f"{self.promise}, but {fact}", ti, t, events)
