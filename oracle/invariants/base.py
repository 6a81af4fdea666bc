"""What every invariant looks like, and what it reports."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import msgspec

from oracle.events import (
    BEGINS,
    ENDS,
    AnswerEvent,
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
    WorkerEvent,
)
from oracle.states import Roles

UNITS: dict[type, str] = {
    TaskInstanceEvent: "task instances",
    PodEvent: "pods",
    WorkerEvent: "workers",
    LedgerEvent: "task instances with a ledger",
    AnswerEvent: "answers",
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


Violations = Iterable[Violation] | None
"""What an event shows broken; most show nothing."""


class Invariant:
    """A promise of Airflow, judged from a history alone, one event at a time.

    It sees the kinds of events that it has a method for: `on_ti`, `on_pod` .., named after the
    `kind` that a history gives them, takes the next such event, and may return what it shows
    broken. `heeds_ti` and `heeds_pod` may tell of which it wants none: asked once for all that are
    alike (`oracle.alike`), they look at nothing else of an event, and at nothing that came before;
    an invariant whose mind is changed by an event calls `ask_anew`.
    It sees them live or from a file alike, so it must not need the future to stay quiet:
    what is legal by any released Airflow never is a violation. Without an event of its `evidence`
    there was nothing to judge, which is not the same as nothing wrong.
    """

    name: ClassVar[str]
    promise: ClassVar[str]
    evidence: ClassVar[type[msgspec.Struct]]
    needs_a_clean_history: ClassVar[bool] = False
    """Whether it has nothing to say of a history that another invariant found wanting."""

    def __init__(self, header: Header) -> None:
        self._roles = Roles(header.schedulers)
        self.ask_anew: Callable[[], None] = _nobody_asked
        """Has the one who feeds it ask it anew what it heeds."""

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

    def handlers(self) -> Iterator[tuple[type, Callable[[Any], Violations]]]:
        """Give the kinds of events that it sees, each with its method."""
        for kind in get_args(Event):
            if method := getattr(self, f"on_{kind.__struct_config__.tag}", None):
                yield kind, method

    def handler(self, event: Event) -> Callable[[Any], Violations] | None:
        """Give the method that takes this event and those that are alike, if there is one."""
        tag = type(event).__struct_config__.tag
        heeds = getattr(self, f"heeds_{tag}", None)
        if heeds is not None and not heeds(event):
            return None
        method: Callable[[Any], Violations] | None = getattr(self, f"on_{tag}", None)
        return method

    def is_scheduler(self, process: str) -> bool:
        """Tell whether a process is a scheduler."""
        return self._roles.of(process) == "scheduler"

    def violation(
        self, fact: str, ti: TaskInstanceKey | None, t: float, *events: Event
    ) -> Violation:
        """Put the promise and the fact that breaks it into one sentence."""
        return Violation(self.name, f"{self.promise}, but {fact}", ti, t, events)


def _nobody_asked() -> None:
    """Whoever feeds all events asks nothing."""


SETTLE_SECONDS = 60.0
"""So long after a disturbance is over what goes wrong may still come of it: twice the time after
which Airflow itself holds a silent scheduler for dead (`scheduler_health_check_threshold`)."""

AT_ONCE = frozenset({"cancel", "terminate"})
"""What befalls a statement or a connection, over as soon as it is done, in an exploration without a
hold. Who ends of it may take its time, where others are let past meanwhile."""


class Disturbances:
    """Follows faults and holds: which are on, and when one was over last (-inf if none was)."""

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
        if event.op in ENDS or event.op in AT_ONCE:
            self.last_end = event.t

    def excuse(self, t: float) -> bool:
        """Tell whether what goes wrong at `t` may come of one that is on or of late was."""
        return bool(self.on) or t <= self.last_end + SETTLE_SECONDS


class LeftAtEnd(Invariant):
    """What is judged when all is over: that nothing was left for which there was time."""

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._disturbances = Disturbances()
        self._end: float | None = None

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs."""
        self._disturbances.feed(event)

    on_hold = on_fault

    def on_end(self, event: End) -> None:
        """Take note of when the history ends."""
        self._end = event.t

    def left_for(self, t: float) -> float:
        """Return for how many seconds what was there at `t` has been left undisturbed.

        0 where that cannot be told: the history breaks off, or something disturbs to its end.
        """
        if self._end is None or self._disturbances.on:
            return 0.0
        return self._end - max(t, self._disturbances.last_end)
