"""Does every worker get an answer from the API server while nothing disturbs the two?"""

from collections.abc import Iterable
from dataclasses import dataclass

from oracle.events import AnswerEvent, FaultEvent, Header, HoldEvent, TaskInstanceKey
from oracle.invariants.base import Disturbances, Invariant, Violation

BOUND_SECONDS = 60.0
"""A worker whose heartbeats fail three times in a row ([workers] max_failed_heartbeats) ends its
task, however well that is. With Airflow's time-outs and retries that takes some 100 s."""

LEAST_REQUESTS = 5
"""Unanswered in that time: one time-out, however long it is, is no silence."""

_OF_KUBERNETES = frozenset(
    {"pod-api-latency", "pod-api-error", "pod-answer-lost", "pod-api-drop"}
    | {"watch-broken", "late-pod-end"}
)
_OF_THE_END = frozenset({"scheduler-kill", "process-kill", "process-stop"})


@dataclass(slots=True)
class _Silence:
    """Since when a worker had no answer, and to how many requests."""

    first: AnswerEvent
    requests: int = 1
    told: bool = False


class WorkersAnswered(Invariant):
    """A worker's requests wait for as long as somebody else has its row locked.

    A scheduler that asks Kubernetes for something between the lock and its commit locks the row
    for as long as that takes. So neither what befalls requests to Kubernetes is an excuse, nor
    the end of a scheduler; any other fault or hold is, while it is on.
    """

    name = "workers-answered"
    promise = "Undisturbed, the API server leaves no worker without an answer for a minute"
    evidence = AnswerEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._disturbances = Disturbances()
        self._silent: dict[TaskInstanceKey, _Silence] = {}
        self._judged = 0

    def on_answer(self, event: AnswerEvent) -> Iterable[Violation]:
        """Follow who waits for an answer, and report who does for too long."""
        if event.ti is None:
            return ()
        self._judged += 1
        if event.status is not None or event.by != "api-server" or self._disturbances.on:
            self._silent.pop(event.ti, None)
            return ()
        silence = self._silent.get(event.ti)
        if silence is None or silence.first.t <= self._disturbances.last_end:
            self._silent[event.ti] = _Silence(event)
            return ()
        silence.requests += 1
        waited = event.t - silence.first.t
        if silence.told or waited < BOUND_SECONDS or silence.requests < LEAST_REQUESTS:
            return ()
        silence.told = True
        fact = f"{silence.requests} requests of {event.ti} had none in {waited:.0f} s"
        return (self.violation(fact, event.ti, event.t, silence.first, event),)

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs workers, the API server, or what both need."""
        if not self._is_elsewhere(event):
            self._disturbances.feed(event)

    on_hold = on_fault

    def _is_elsewhere(self, event: FaultEvent | HoldEvent) -> bool:
        """Tell whether what is disturbed is between a scheduler and Kubernetes, or its end."""
        if isinstance(event, HoldEvent):
            return " of pods" in event.name
        by_its_end = event.name in _OF_THE_END and self.is_scheduler(event.process or "")
        return event.name in _OF_KUBERNETES or by_its_end

    def judged(self) -> int | None:
        """Count the requests."""
        return self._judged

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "requests of workers"
