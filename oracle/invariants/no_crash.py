"""Do Airflow's own processes stay up while nothing disturbs them?"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from oracle.ends import told_end, was_told_to
from oracle.events import Event, FaultEvent, Header, HoldEvent, ProcessEvent
from oracle.invariants.base import Invariant, Violation

SETTLE_SECONDS = 60.0
"""So long after a disturbance is over a process may still end of it: twice the time after which
Airflow itself holds a silent scheduler for dead (`scheduler_health_check_threshold`)."""

EVERYBODY = "*"

WIDER = {"node-pause": EVERYBODY}
"""Faults that strike more than the process they name: a node carries others too. All else fells
whom it names (a glob): `*` (database-restart) every daemon, `worker` (pod-deletion, slow-pods) none
of them, for the daemons have to bear what becomes of workers; no name at all, every daemon."""


class NoCrash(Invariant):
    """A scheduler, DAG processor, triggerer or API server goes on until somebody ends it.

    Whoever starts it again, as every deployment does, hides that: what it had in hand is reset or
    adopted, and tried again. An end is excused while a fault or a hold strikes that process, and
    for `SETTLE_SECONDS` after; and where a signal from outside was the cause.
    """

    name = "no-crash"
    promise = "No process of Airflow's ends undisturbed"
    sees = (ProcessEvent, FaultEvent, HoldEvent)
    evidence = (ProcessEvent,)

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._lab = header.lab
        self._on: dict[tuple[str, str, str | None], str] = {}
        self._over: dict[str, float] = {}

    def feed(self, event: Event) -> Iterable[Violation]:
        """Follow what is disturbed; report who ends though it is not."""
        if isinstance(event, FaultEvent | HoldEvent):
            self._disturb(event)
        elif isinstance(event, ProcessEvent) and self._is_crash(event):
            return (self.violation(f"{event.process} {told_end(event)}", None, event.t, event),)
        return ()

    def _is_crash(self, event: ProcessEvent) -> bool:
        known = event.op == "ended" and event.exit_code is not None
        return known and not was_told_to(event, self._lab) and not self._is_excused(event)

    def _disturb(self, event: FaultEvent | HoldEvent) -> None:
        key = (type(event).__name__, event.name, event.process)
        whom = WIDER.get(event.name) or event.process or EVERYBODY
        if event.op in ("begin", "hold"):
            self._on[key] = whom
        elif event.op in ("end", "release"):
            self._on.pop(key, None)
            self._over[whom] = event.t

    def _is_excused(self, event: ProcessEvent) -> bool:
        lately = (whom for whom, t in self._over.items() if event.t <= t + SETTLE_SECONDS)
        return any(fnmatchcase(event.process, whom) for whom in (*self._on.values(), *lately))
