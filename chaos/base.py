"""What every fault is: a disturbance with a beginning and an end, healed whatever happens."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Literal, Self

from common.errors import UserError
from lab.base import Lab

log = logging.getLogger(__name__)

Record = Callable[[str, str, str, str], None]
"""Writes an event of a fault or gate to the history: op, name, process, detail."""


def silent(op: str, name: str, process: str, detail: str) -> None:
    """Record nothing: for a fault whose history nobody keeps."""


class Fault(ABC):
    """A disturbance of one process, or of all (`*`), from `begin` until `end`.

    Recorded from just before it bites until just after it is healed, so that whatever it caused
    lies between the two events. Both calls may be repeated. It `lasts` that many seconds
    at least: leaving its block waits for that, unless an error leaves it.

    `scope` is what it strikes besides: nothing outside its `lab`, or all that is in the lab's
    `cluster`, other labs too.
    """

    name: ClassVar[str]
    scope: ClassVar[Literal["lab", "cluster"]] = "lab"

    def __init__(self, process: str, record: Record | None = None, lasts: float = 0.0) -> None:
        if lasts < 0:
            raise UserError(f"A fault cannot last {lasts:g} s.", "Give 0 or more seconds.")
        self.process = process
        self.lasts = lasts
        self._record = record or silent
        self._since = 0.0
        self.begun = False

    @classmethod
    def available(cls, lab: Lab) -> str | None:  # noqa: ARG003
        """Return why a lab cannot be disturbed in this way, None when it can."""
        return None

    @property
    @abstractmethod
    def detail(self) -> str:
        """What the fault does, in the words of a report: amounts with their units."""

    @abstractmethod
    def inject(self) -> None:
        """Bite; `begin` calls it once. Raises UserError when it cannot."""

    @abstractmethod
    def heal(self) -> str:
        """Undo what `inject` did, also after half of it; return what is worth noting."""

    def fired(self) -> bool:
        """Tell whether the fault is seen to strike somebody now; a fault that never does is none.

        Asked again and again while the fault lasts. True where injecting it is striking.
        """
        return True

    def begin(self) -> None:
        """Let the fault bite; does nothing when it already does."""
        if self.begun:
            return
        self.begun = True
        self._record("begin", self.name, self.process, self.detail)
        try:
            self.inject()
        except BaseException:
            with suppress(UserError):
                self.end()
            raise
        self._since = time.monotonic()
        log.info("The fault %s begins on %s: %s.", self.name, self.process, self.detail)

    def end(self) -> None:
        """Heal the fault; does nothing when it is healed. When healing fails, it may be retried."""
        if not self.begun:
            return
        noted = self.heal()
        self.begun = False
        self._record("end", self.name, self.process, noted)
        log.info("The fault %s on %s is healed.", self.name, self.process)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None and self.begun:
                self._last()
        finally:
            self.end()

    def _last(self) -> None:
        """Wait until the fault has lasted its seconds."""
        left = self._since + self.lasts - time.monotonic()
        if left > 0:
            time.sleep(left)
