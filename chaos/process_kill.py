"""A process of Airflow's that dies without a word: an out-of-memory kill, a node that is gone."""

from dataclasses import dataclass

from chaos.base import Fault, Injection
from lab.base import Lab


@dataclass(frozen=True)
class ProcessKill(Fault[Lab]):
    """Kills one process (SIGKILL); another is started in its place when the fault is healed.

    `seconds` is how long it stays dead at least; in a cluster the kubelet starts the next at once,
    as it does there.
    """

    process: str

    name = "process-kill"
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
