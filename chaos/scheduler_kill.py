"""A scheduler that dies without a word: an out-of-memory kill, a node that is gone."""

from chaos.base import Fault, Record
from lab.base import Lab


class SchedulerKill(Fault):
    """Kills one scheduler (SIGKILL); another is started in its place when the fault is healed.

        scheduler-1  ------------------ adopts what is left ------------->
        scheduler-2  ---X  (its row in `job` says "running")   |-- new -->
                     killed                                  healed

    Its locks go with its connections; what it had queued is an orphan until a scheduler sees that
    its heartbeat stopped. `seconds` is how long it stays dead at least; in a cluster the kubelet
    starts the next at once, as it does there.
    """

    name = "scheduler-kill"

    def __init__(
        self,
        lab: Lab,
        process: str,
        seconds: float = 0.0,
        record: Record | None = None,
    ) -> None:
        super().__init__(process, record, seconds)
        self._lab = lab

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab can kill nothing, None when it can."""
        return lab.lacks("kill")

    @property
    def detail(self) -> str:
        """What the fault does."""
        least = f", dead for {self.lasts:g} s or more" if self.lasts else ""
        return f"killed by SIGKILL{least}"

    def inject(self) -> None:
        """Kill the process; UserError when the lab has none of that name."""
        self._lab.kill(self.process)

    def heal(self) -> str:
        """Have it running again, which takes as long as a start of Airflow."""
        self._lab.start(self.process)
        return "started again"
