"""Do Airflow's own processes stay up while nothing disturbs them?"""

from collections import deque
from collections.abc import Iterable
from fnmatch import fnmatchcase

from oracle.ends import end_text, was_told_to
from oracle.events import ENDS, FaultEvent, Header, HoldEvent, ProcessEvent
from oracle.invariants.base import (
    AT_ONCE,
    SETTLE_SECONDS,
    Disturbances,
    Invariant,
    Violation,
)

EVERYBODY = "*"

NOBODY = "-"
_TOLD = 10

STRIKES = {
    "node-pause": EVERYBODY,
    **dict.fromkeys(("pod-api-latency", "pod-api-error", "pod-answer-lost"), NOBODY),
    **dict.fromkeys(("pod-api-drop", "watch-broken", "late-pod-end"), NOBODY),
}
"""Faults that excuse others than the process they name: a node carries others too; and what becomes
of requests to the Kubernetes API, every daemon has to bear. All else fells whom it names (a glob):
`*` (database-restart) every daemon, `worker` (pod-deletion, slow-pods) none of them, for they have
to bear what becomes of workers; no name at all, every daemon."""


class NoCrash(Invariant):
    """A scheduler, DAG processor, triggerer or API server goes on until somebody ends it.

    Whoever starts it again, as every deployment does, hides that: what it had in hand is reset or
    adopted, and tried again. An end is excused while a fault or a hold strikes that process, and
    for `SETTLE_SECONDS` after; and where a signal from outside was the cause.
    """

    name = "no-crash"
    promise = "No process of Airflow's ends undisturbed"
    evidence = ProcessEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._lab = header.lab
        self._disturbances = Disturbances()
        self._over: dict[str, float] = {}
        self._borne: deque[FaultEvent | HoldEvent] = deque(maxlen=_TOLD)

    def on_process(self, event: ProcessEvent) -> Iterable[Violation]:
        """Report who ends undisturbed."""
        if self._is_crash(event):
            what = f"{event.process} {end_text(event)}"
            yield self.violation(what, None, event.t, *self._borne_by(event), event)

    def _borne_by(self, event: ProcessEvent) -> Iterable[FaultEvent | HoldEvent]:
        """Return what of late befell the process that is no excuse: it tells why."""
        for each in self._borne:
            of_it = fnmatchcase(event.process, each.process or EVERYBODY)
            if of_it and event.t <= each.t + SETTLE_SECONDS:
                yield each

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow whom a disturbance strikes, and until when."""
        self._disturbances.feed(event)
        if _whom(event) == NOBODY:
            self._borne.append(event)
        if event.op in ENDS or event.op in AT_ONCE:
            self._over[_whom(event)] = event.t

    on_hold = on_fault

    def _is_crash(self, event: ProcessEvent) -> bool:
        known = event.op == "ended" and event.exit_code is not None
        return known and not was_told_to(event, self._lab) and not self._is_excused(event)

    def _is_excused(self, event: ProcessEvent) -> bool:
        lately = (whom for whom, t in self._over.items() if event.t <= t + SETTLE_SECONDS)
        struck = map(_whom, self._disturbances.on.values())
        return any(fnmatchcase(event.process, whom) for whom in (*struck, *lately))


def _whom(event: FaultEvent | HoldEvent) -> str:
    return STRIKES.get(event.name) or event.process or EVERYBODY
