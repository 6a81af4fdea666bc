"""Which workers' logs are kept when a run is over."""

from collections import deque
from collections.abc import Sequence

from oracle.events import End, Event, TaskInstanceKey, WorkerEvent
from oracle.invariants import Violation

MOST_LOGS = 500
"""Of an observation, which may have seen a hundred thousand: each is a question to the cluster."""


class Workers:
    """Goes along while a history is read, and remembers the pods whose logs tell something.

    All of them, or of `most`: those that failed or were refused, those of task instances that broke
    a promise, and then those that came last.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._last: deque[tuple[str, TaskInstanceKey | None]] = deque(maxlen=most)
        self._telling: dict[str, None] = {}
        self._broken: set[TaskInstanceKey] = set()

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:
        """Take the next event, and the violations that the judge found at it."""
        for violation in violations:
            if violation.ti is not None:
                self._broken.add(violation.ti)
                self._telling |= {pod: None for pod, ti in self._last if ti == violation.ti}
        pod = None if isinstance(event, End) else getattr(event, "pod", None)
        if not pod:
            return
        ti = getattr(event, "ti", None)
        failed = isinstance(event, WorkerEvent) and (event.refused or event.exit_code)
        if failed or ti in self._broken:
            self._telling[pod] = None
        self._last.append((pod, ti))

    def names(self) -> list[str]:
        """Return the names of the pods."""
        newest_first = (pod for pod, _ in reversed(self._last))
        return sorted([*dict.fromkeys([*self._telling, *newest_first])][: self._most])
