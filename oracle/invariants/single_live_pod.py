"""Does a task instance have at most one live pod?"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from oracle.events import Header, PodEvent, TaskInstanceEvent, TaskInstanceKey
from oracle.invariants.base import Invariant, Violation
from oracle.states import QUEUED, RUNNING, SCHEDULED

SETTLE_SECONDS = 1.0
"""How long an overlap waits for a row change that came before it but is told after it: pods and
rows come from two sources, and only within each is the order certain."""

_UNDER_WAY = frozenset({SCHEDULED, QUEUED, RUNNING})


@dataclass(slots=True)
class _Live:
    since: float
    event: PodEvent


class _Overlap(NamedTuple):
    ti: TaskInstanceKey
    first: PodEvent
    second: PodEvent


class SingleLivePod(Invariant):
    """A second pod comes only when the first one's work is over.

    Live is a pod that runs, or waits to run and is not being deleted. A running pod that is
    being deleted still is: its code runs until it is gone. One whose worker's container has ended
    is not, though a sidecar may keep it running for as long as it likes.

    One overlap is by design. A worker reports the end of an execution (retry, deferral,
    reschedule; `ti_update_state`) and only then exits, and the row is free for a scheduler at
    once: the next pod may be there before the last one has gone. The user's code is over by
    then, so a pod is no longer live when the API server took its task instance out of RUNNING.
    The same goes for a pod whose task instance a user cleared or marked: the API refuses its
    start or its next heartbeat. No change by a scheduler excuses a pod: it is the scheduler that
    has to make sure that the pod is gone.
    """

    name = "single-live-pod"
    promise = "A task instance has at most one live pod"
    evidence = PodEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._live: dict[TaskInstanceKey, dict[str, _Live]] = {}
        self._overlaps: deque[_Overlap] = deque()
        self._overlapped = False

    def on_pod(self, event: PodEvent) -> Iterable[Violation]:
        """Follow the pods of each task instance."""
        ti = event.ti
        if ti is not None and _is_live(event):
            self._begin(ti, event)
        elif ti is not None and (pods := self._live.get(ti)):
            pods.pop(event.uid, None)
            if not pods:
                del self._live[ti]
        return self._settled(event.t) if self._overlaps else ()

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what excuses a pod, and whatever tells the time once an overlap waits for it."""
        return self._overlapped or self._excuses(event)

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Follow what excuses a pod."""
        if self._excuses(event):
            self._excuse(event.ti, event.t)
        return self._settled(event.t) if self._overlaps else ()

    def finish(self) -> Iterable[Violation]:
        """Report the overlaps that the history's end left waiting."""
        return self._settled(float("inf"))

    def _begin(self, ti: TaskInstanceKey, event: PodEvent) -> None:
        pods = self._live.get(ti)
        if pods is None:
            self._live[ti] = {event.uid: _Live(event.t, event)}
        elif event.uid in pods:
            pods[event.uid].event = event
        else:
            first = next(iter(pods.values())).event
            self._overlaps.append(_Overlap(ti, first, event))
            if not self._overlapped:
                self._overlapped = True
                self.ask_anew()
            pods[event.uid] = _Live(event.t, event)

    def _excuses(self, event: TaskInstanceEvent) -> bool:
        if event.old is None:
            return False
        state = event.new.state if event.new else None
        ends = state is None or (event.old.state in _UNDER_WAY and state not in _UNDER_WAY)
        return ends and not self.is_scheduler(event.process)

    def _excuse(self, ti: TaskInstanceKey, t: float) -> None:
        pods = self._live.pop(ti, {})
        later = {uid: pod for uid, pod in pods.items() if pod.since > t}
        if later:
            self._live[ti] = later
        if self._overlaps:
            kept = (o for o in self._overlaps if o.ti != ti or o.second.t < t)
            self._overlaps = deque(kept)

    def _settled(self, now: float) -> Iterator[Violation]:
        while self._overlaps and self._overlaps[0].second.t + SETTLE_SECONDS <= now:
            ti, first, second = self._overlaps.popleft()
            fact = f"{_name(second)} came while {_name(first)} was {first.phase}"
            yield self.violation(fact, ti, second.t, first, second)


def _is_live(event: PodEvent) -> bool:
    if event.op == "deleted" or event.exit_code is not None:
        return False
    return event.phase == "Running" or (event.phase == "Pending" and not event.deleting)


def _name(pod: PodEvent) -> str:
    return f"pod {pod.name}" if pod.try_number is None else f"pod {pod.name} (try {pod.try_number})"
