"""A scheduler that dies without a word: an out-of-memory kill, a node that is gone."""

from dataclasses import dataclass

from chaos.base import Fault, Injection
from lab.base import Lab


@dataclass(frozen=True)
class SchedulerKill(Fault[Lab]):
    """Kills one scheduler (SIGKILL); another is started in its place when the fault is healed.

        scheduler-1  ------------------ adopts what is left ------------->
        scheduler-2  ---X  (its row in `job` says "running")   |-- new -->
                     killed                                  healed

    Its locks go with its connections; what it had queued is an orphan until a scheduler sees that
    its heartbeat stopped. `seconds` is how long it stays dead at least; in a cluster the kubelet
    starts the next at once, as it does there.
    """

    process: str

    name = "scheduler-kill"
    powers = ("kill",)

    @property
    def detail(self) -> str:
        """What the fault does."""
        return "killed by SIGKILL" + (f", dead{self.at_least}" if self.seconds else "")

    def inject(self, at: Injection[Lab]) -> None:
        """Kill the process; UserError when the lab has none of that name."""
        at.lab.kill(self.process)

    def heal(self, at: Injection[Lab]) -> str:
        """Have it running again, which takes as long as a start of Airflow."""
        at.lab.start(self.process)
        return "started again"
