"""Does a process of Airflow's that is told to end do so before it would be killed?"""

import signal
from collections.abc import Iterable
from typing import NamedTuple

from oracle.ends import signal_of
from oracle.events import FaultEvent, Header, HoldEvent, ProcessEvent
from oracle.invariants.base import Disturbances, Invariant, Violation

STOP = "process-stop"
"""The fault that tells a process to end, by SIGTERM, as every roll-out does."""

GRACE_SECONDS = {"scheduler": 10.0, "triggerer": 60.0, "dag-processor": 60.0, "api-server": 30.0}
"""The terminationGracePeriodSeconds of Airflow's chart, by what a process' name says it is: so long
after SIGTERM a kubelet sends SIGKILL. The API server has none there; its is Kubernetes' own."""


class _Stop(NamedTuple):
    told: FaultEvent
    grace: float


class StopsInTime(Invariant):
    """What is killed while it ends leaves behind what a killed process leaves.

    Its row in `job` says that it runs, until its heartbeat is found to be old; what it had queued
    is nobody's until then, and what it was writing is lost. So an end in good order counts only if
    it comes within the grace.

    Judged are the stops during which, and in `SETTLE_SECONDS` before which, nothing else disturbed:
    who is frozen, or waits for a slow database, ends later. Who is killed within the grace was not
    given it.
    """

    name = "stops-in-time"
    promise = "A process that is told to end does so within the grace that Airflow's chart gives it"
    evidence = ProcessEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._disturbances = Disturbances()
        self._stops: dict[str, _Stop] = {}
        self._judged = 0

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow who is told to end, and what else disturbs."""
        if event.name != STOP or isinstance(event, HoldEvent):
            self._disturbances.feed(event)
            if self._disturbances.excuse(event.t):
                self._stops.clear()
        elif event.op == "begin":
            grace = _grace(event.process or "")
            if grace is not None and not self._disturbances.excuse(event.t):
                self._stops[event.process or ""] = _Stop(event, grace)

    on_hold = on_fault

    def on_process(self, event: ProcessEvent) -> Iterable[Violation]:
        """Report who ends too late."""
        stop = self._stops.pop(event.process, None) if event.op == "ended" else None
        if stop is None:
            return
        took = event.t - stop.told.t
        if took <= stop.grace and signal_of(event.exit_code) == signal.SIGKILL:
            return
        self._judged += 1
        if took > stop.grace:
            fact = f"{event.process} ended {took:.1f} s after SIGTERM, and has {stop.grace:g} s"
            yield self.violation(fact, None, event.t, stop.told, event)

    def abstention(self) -> str | None:
        """Say that nobody was told to end."""
        return None if self._judged else "no process was told to end while nothing else disturbed"

    def judged(self) -> int | None:
        """Count the stops."""
        return self._judged

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "stops"


def _grace(process: str) -> float | None:
    """Return a process' grace in seconds; None for one that is none of Airflow's daemons."""
    return next((grace for role, grace in GRACE_SECONDS.items() if role in process), None)
