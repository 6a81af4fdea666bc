"""The faults as a test sees them: made for its lab, written into its history."""

from collections.abc import Callable

import pytest

from chaos.base import Fault
from chaos.database_restart import DatabaseRestart
from chaos.network import LinkCut, LinkLoss, NetworkLatency
from chaos.node_pause import NodePause
from chaos.pod_deletion import PodDeletion
from chaos.pod_network import PodNetwork
from chaos.scheduler_kill import SchedulerKill
from chaos.scheduler_pause import SchedulerPause
from chaos.slow_pods import SlowPods
from chaos.statement_delay import StatementDelay
from lab.base import Lab
from run.run import Run


class Faults:
    """Makes faults; each is a context manager that heals itself on leaving.

    A process is told by its role (`scheduler-2`), or is "*" for all. Where the lab cannot suffer a
    fault the test is skipped, and the reason told.
    """

    def __init__(self, lab: Lab, history: Run, seed: int) -> None:
        self._lab = lab
        self._history = history
        self._seed = seed
        self._record = history.record

    def scheduler_kill(self, process: str, seconds: float = 0.0) -> Fault:
        """Kill a scheduler (SIGKILL); it stays dead for `seconds` or more, and is started again."""
        return self._made(
            SchedulerKill,
            lambda: SchedulerKill(self._lab, self._process(process), seconds, self._record),
        )

    def scheduler_pause(self, process: str, seconds: float = 0.0) -> Fault:
        """Freeze a scheduler for `seconds` or more, and let it go on."""
        return self._made(
            SchedulerPause,
            lambda: SchedulerPause(
                self._lab, self._process(process), self._record, seconds=seconds
            ),
        )

    def node_pause(self, process: str, seconds: float = 0.0) -> Fault:
        """Freeze the node that a process runs on, with all that runs there."""
        return self._made(
            NodePause,
            lambda: NodePause(
                self._lab, self._process(process), seconds=seconds, record=self._record
            ),
        )

    def database_restart(self, how: str = "fast") -> Fault:
        """Restart the database, after a `fast` or an `immediate` shutdown."""
        return self._made(DatabaseRestart, lambda: DatabaseRestart(self._lab, how, self._record))

    def statement_delay(self, process: str, seconds: float, jitter: float = 0.0) -> Fault:
        """Delay one scheduler inside its locking statement: after the snapshot, before the lock."""

        def make() -> Fault:
            self._history.allow_rules()
            where = self._process(process)
            return StatementDelay(
                self._lab, where, seconds, jitter, self._seed, record=self._record
            )

        return self._made(StatementDelay, make)

    def network_latency(self, process: str, seconds: float, jitter: float = 0.0) -> Fault:
        """Slow a process' database link by `seconds` each way; "*" for every process."""
        return self._made(
            NetworkLatency,
            lambda: NetworkLatency(
                self._lab, self._process(process), seconds, jitter, self._seed, self._record
            ),
        )

    def link_loss(self, process: str, loss: float) -> Fault:
        """Lose a share of what goes over a process' database link; TCP sends it again."""
        return self._made(
            LinkLoss,
            lambda: LinkLoss(self._lab, self._process(process), loss, self._seed, self._record),
        )

    def link_cut(self, process: str, how: str = "reset", seconds: float = 0.0) -> Fault:
        """Cut a process' database link: `reset` its connections, or `drop` what they send."""
        return self._made(
            LinkCut,
            lambda: LinkCut(self._lab, self._process(process), how, self._record, seconds),
        )

    def pod_network(
        self, process: str, seconds: float = 0.0, jitter: float = 0.0, loss: float = 0.0
    ) -> Fault:
        """Slow all that a process' pod sends by `seconds`, or lose a share of it."""
        return self._made(
            PodNetwork,
            lambda: PodNetwork(
                self._lab, self._process(process), seconds, jitter, loss, record=self._record
            ),
        )

    def pod_deletion(self, interval: float = 5.0, grace: int = 1) -> Fault:
        """Delete a running worker pod, chosen by the seed, every `interval` seconds."""
        return self._made(
            PodDeletion,
            lambda: PodDeletion(self._lab, interval, grace, self._seed, record=self._record),
        )

    def slow_pods(self, delay: float) -> Fault:
        """Make each worker pod start `delay` seconds later."""
        return self._made(SlowPods, lambda: SlowPods(self._lab, delay, record=self._record))

    def _process(self, role: str) -> str:
        return role if role == "*" else self._lab.process(role)

    def _made(self, kind: type[Fault], make: Callable[[], Fault]) -> Fault:
        """Make a fault whose striking the run will look for, or skip the test."""
        if reason := kind.available(self._lab):
            self._history.abandon()
            pytest.skip(f"{kind.name} is not available: {reason}")
        fault = make()
        self._history.faults[fault] = False
        return fault
