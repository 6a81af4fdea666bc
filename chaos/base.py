"""What every fault is: data first, then a disturbance of one lab with a beginning and an end."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from common.errors import UserError
from common.waiting import Deadline
from lab.base import Lab

log = logging.getLogger(__name__)

L = TypeVar("L", bound=Lab)

Record = Callable[[str, str, str, str], None]
"""Writes an event of a fault or hold to the history: op, name, process, detail."""

ALL_PROCESSES = "*"
ANY_WORKER = "worker"
"""Whom a fault disturbs that is not of one process."""


def silent(op: str, name: str, process: str, detail: str) -> None:
    """Record nothing: for a fault whose history nobody keeps."""


def jittered(amount: float, jitter: float, seed: int | None) -> str:
    """Return an amount of time in the words of a report, give or take what the seed draws."""
    return f"{amount:g} s" + (f" ± {jitter:g} s (seed {seed or 0})" if jitter else "")


def require(valid: bool, message: str, hint: str = "") -> None:
    """Refuse a fault that makes no sense, when it is made: UserError unless it is `valid`."""
    if not valid:
        raise UserError(message, hint)


@dataclass(frozen=True, kw_only=True)
class Fault(ABC, Generic[L]):
    """A disturbance of one process, or of all (`*`): what it is, not yet of any lab.

        @pytest.mark.fault(SchedulerKill("scheduler-2", seconds=10))

    `process` is a role (`scheduler-2`); each lab has its own name for it. It lasts `seconds` at
    least. A subclass is a frozen dataclass in a file of its name; it checks its values where it is
    made (`__post_init__`), and `L` says what of a lab it uses.
    """

    process: str
    seconds: float = 0.0

    name: ClassVar[str]
    """What histories call it: kebab-case, as its file is called."""

    powers: ClassVar[tuple[str, ...]] = ()
    """What a lab must be able to do; where it cannot, a test of this fault is skipped."""

    scope: ClassVar[Literal["lab", "cluster"]] = "lab"
    """What it disturbs: nothing outside its lab, or its cluster, which a test then has alone."""

    def __post_init__(self) -> None:
        require(
            0 <= self.seconds < math.inf,
            f"A fault cannot last {self.seconds:g} s.",
            "Give 0 or more seconds.",
        )

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the powers that it takes with its present values."""
        return self.powers

    @property
    @abstractmethod
    def detail(self) -> str:
        """What the fault does, in the words of a report: amounts with their units."""

    @property
    def at_least(self) -> str:
        """Return how long it lasts, for `detail`; empty where its user says when it is over."""
        return f" for {self.seconds:g} s or more" if self.seconds else ""

    @abstractmethod
    def inject(self, at: "Injection[L]") -> None:
        """Disturb `at.lab`; called once. Raises UserError when it cannot.

        What `heal` and `fired` must know goes into `at.kept`, before whatever is to be undone.
        """

    @abstractmethod
    def heal(self, at: "Injection[L]") -> str | None:
        """Undo what `inject` did, also after half of it; return what is worth noting, if any."""

    def fired(self, at: "Injection[L]") -> bool:  # noqa: ARG002
        """Tell whether the fault is seen to strike somebody now; a fault that never does is none.

        Asked again and again while the fault lasts. True where injecting it is striking.
        """
        return True

    def on(self, lab: L, record: Record = silent, seed: int | None = None) -> "Injection[L]":
        """Return the disturbance of one lab, to be entered; `seed` serves where it has none."""
        return Injection(self, lab, record, seed)


class Injection(Generic[L]):
    """A fault on one lab, from `begin` until `end`: a context manager.

    Recorded from just before it bites until just after it is healed, so that whatever it caused
    lies between the two events. Both calls may be repeated. Leaving its block waits until it has
    lasted its seconds, unless an error leaves it.
    """

    def __init__(self, fault: Fault[L], lab: L, record: Record, seed: int | None) -> None:
        changes: dict[str, Any] = {}
        if fault.process not in (ALL_PROCESSES, ANY_WORKER):
            changes["process"] = lab.process(fault.process)
        if getattr(fault, "seed", 0) is None:
            changes["seed"] = seed
        self.fault = replace(fault, **changes)
        self.lab = lab
        self.begun = False
        self.kept: Any = None
        """What the fault keeps between being injected and being healed."""
        self._record = record
        self._over = Deadline(0.0)

    @property
    def name(self) -> str:
        """Return the fault's name."""
        return self.fault.name

    @property
    def process(self) -> str:
        """Return the process that is disturbed, by the name that the lab has for it."""
        return self.fault.process

    def fired(self) -> bool:
        """Tell whether the fault is seen to strike somebody now."""
        return self.fault.fired(self)

    def begin(self) -> None:
        """Let the fault bite; does nothing when it already does."""
        if self.begun:
            return
        self.begun = True
        self._record("begin", self.name, self.process, self.fault.detail)
        try:
            self.fault.inject(self)
        except BaseException:
            with suppress(UserError):
                self.end()
            raise
        self._over = Deadline(self.fault.seconds)
        log.info("The fault %s begins on %s: %s.", self.name, self.process, self.fault.detail)

    def end(self) -> None:
        """Heal the fault; does nothing when it is healed. When healing fails, it may be retried."""
        if not self.begun:
            return
        noted = self.fault.heal(self) or ""
        self.begun = False
        self._record("end", self.name, self.process, noted)
        log.info("The fault %s on %s is healed.", self.name, self.process)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if error is None and self.begun:
                time.sleep(self._over.left)
        finally:
            self.end()
