"""A process that stops in its tracks: a long garbage collection, a frozen node, a throttled pod."""

from chaos.base import Fault, Record
from lab.base import Lab


class SchedulerPause(Fault):
    """Freezes one scheduler (SIGSTOP); its connections and locks stay as they are.

    PostgreSQL keeps what a frozen client has locked for as long as its connection lives.
    """

    name = "scheduler-pause"

    def __init__(self, lab: Lab, process: str, record: Record | None = None) -> None:
        super().__init__(process, record)
        self._lab = lab

    @property
    def detail(self) -> str:
        """What the fault does."""
        return "frozen"

    def inject(self) -> None:
        """Freeze the process; LabError when the lab has none of that name."""
        self._lab.pause(self.process)

    def heal(self) -> str:
        """Let the process go on."""
        self._lab.resume(self.process)
        return ""
