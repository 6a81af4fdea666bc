"""The faults as a test sees them: made for its lab, written into its history."""

from chaos.base import Fault
from chaos.database import StatementDelay
from chaos.network import LinkCut, NetworkLatency
from chaos.pause import SchedulerPause
from harness.run import Run
from lab.base import Lab


class Faults:
    """Makes faults; each is a context manager that heals itself on leaving."""

    def __init__(self, lab: Lab, history: Run, seed: int) -> None:
        self._lab = lab
        self._history = history
        self._seed = seed

    def statement_delay(self, process: str, seconds: float, jitter: float = 0.0) -> Fault:
        """Delay one scheduler inside its locking statement: after the snapshot, before the lock."""
        self._history.allow_rules()
        return self._kept(
            StatementDelay(
                self._lab, process, seconds, jitter, self._seed, record=self._history.record
            )
        )

    def network_latency(self, process: str, seconds: float, jitter: float = 0.0) -> Fault:
        """Slow a process' database link by `seconds` each way; "*" for every process."""
        return self._kept(
            NetworkLatency(
                self._lab, process, seconds, jitter, seed=self._seed, record=self._history.record
            )
        )

    def link_cut(self, process: str, how: str = "reset") -> Fault:
        """Cut a process' database link: `reset` its connections, or `drop` what they send."""
        return self._kept(LinkCut(self._lab, process, how, record=self._history.record))

    def pause(self, process: str) -> Fault:
        """Freeze one process."""
        return self._kept(SchedulerPause(self._lab, process, record=self._history.record))

    def _kept(self, fault: Fault) -> Fault:
        self._history.faults[fault] = False
        return fault
