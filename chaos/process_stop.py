"""A process of Airflow's that is told to end, as every roll-out does."""

import time
from dataclasses import dataclass
from typing import Protocol

from chaos.base import Fault, Injection, require
from common.errors import UserError
from common.waiting import until
from lab.base import Lab

_LAST_BREATH = 5.0
"""Seconds within which what was killed is seen to be gone."""


class StopLab(Lab, Protocol):
    """A lab that has the power `stop`."""

    def stop_process(self, process: str) -> None:
        """Tell a process to end (SIGTERM); its end is one of `ends`."""
        ...


@dataclass(frozen=True)
class ProcessStop(Fault[StopLab]):
    """Tells one process to end (SIGTERM); another is started in its place once it has.

        scheduler-2  ---T (gives up its locks, ends its executor) E      |-- new -->
                        SIGTERM                                  ended   healed

    What has not ended `patience` seconds later is killed. That is as long as the longest grace that
    Airflow's chart gives, so that a history shows how long it took, and `stops-in-time` says
    whether that was in time.
    """

    process: str
    patience: float = 60.0

    name = "process-stop"
    powers = ("stop",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.patience > 0, "The patience must be greater than 0 s.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return "told to end by SIGTERM" + (f", away{self.at_least}" if self.seconds else "")

    def inject(self, at: Injection[StopLab]) -> None:
        """Tell the process to end; UserError when the lab has none of that name."""
        at.kept = time.time()
        try:
            at.lab.stop_process(self.process)
        except UserError:
            at.kept = None
            raise

    def heal(self, at: Injection[StopLab]) -> str:
        """Wait for its end, or make one, and have it running again, if it was told to end."""
        if at.kept is None:
            return ""

        def took() -> float | None:
            ends = (end.at for end in at.lab.ends() if end.process == self.process)
            return next((end - at.kept for end in ends if end >= at.kept), None)

        left = at.kept + self.patience - time.time()
        killed = not until(lambda: took() is not None, max(0.0, left))
        if killed:
            at.lab.kill(self.process)
            if not until(lambda: took() is not None, _LAST_BREATH):
                raise UserError(f"{self.process} did not end.", "See the lab's supervisor.log.")
        at.lab.start(self.process)
        how = "killed" if killed else "ended"
        return f"{how} {took() or 0.0:.1f} s later, started again"
