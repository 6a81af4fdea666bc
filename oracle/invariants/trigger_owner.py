"""Is a trigger left to the triggerer that runs it, for as long as that one lives?"""

from collections.abc import Iterable
from dataclasses import dataclass

from oracle.distinct import Distinct
from oracle.events import FaultEvent, Header, HoldEvent, ProcessEvent, RowEvent
from oracle.invariants.base import Disturbances, Invariant, Violation
from oracle.invariants.no_live_orphan import YOUNG_SECONDS


@dataclass(slots=True)
class _Owner:
    """Whose a trigger is: a triggerer's job, since when, and by which change of its row."""

    job: int
    taken: RowEvent


class TriggerOwner(Invariant):
    """Of several triggerers one runs a trigger (`trigger.triggerer_id`); others do when it is dead.

    Who loses a trigger cancels what it runs of it, and who takes it begins anew: taken to and fro,
    it is run many times, or never to its end. Wrong is what is taken so soon after the last time
    that nobody can have held its owner for dead (triggerer_health_check_threshold, 30 s), while
    nothing disturbs that one. Of each trigger the first time is told.
    """

    name = "trigger-owner"
    promise = "A trigger is not taken from a triggerer that lives"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._owners: dict[int, _Owner] = {}
        self._told: set[int] = set()
        self._ended: dict[str, float] = {}
        self._taken = Distinct()
        self._disturbances = Disturbances()

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Follow whose each trigger is."""
        row = event.new or event.old
        if event.table != "trigger" or row is None:
            return ()
        number, before = int(row["id"]), self._owners.pop(int(row["id"]), None)
        if event.new is None or event.new.get("triggerer_id") is None:
            return ()
        owner = self._owners[number] = _Owner(int(event.new["triggerer_id"]), event)
        self._taken.add(number)
        if before is None or before.job == owner.job or number in self._told:
            return ()
        seconds = event.t - before.taken.t
        if seconds > YOUNG_SECONDS or self._excused(before.taken):
            return ()
        self._told.add(number)
        fact = (
            f"{event.process} took trigger {number} from {before.taken.process}, "
            f"which had taken it {seconds:.1f} s before"
        )
        return (self.violation(fact, None, event.t, before.taken, event),)

    def _excused(self, taken: RowEvent) -> bool:
        """Tell whether the owner was disturbed, or ended, since it took the trigger."""
        ended = self._ended.get(taken.process, float("-inf"))
        return bool(self._disturbances.on) or max(ended, self._disturbances.last_end) >= taken.t

    def on_process(self, event: ProcessEvent) -> None:
        """Remember who ended."""
        if event.op == "ended":
            self._ended[event.process] = event.t

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs."""
        self._disturbances.feed(event)

    on_hold = on_fault

    def abstention(self) -> str | None:
        """Say that there was no trigger."""
        return None if len(self._taken) else "no triggerer has taken a trigger"

    def judged(self) -> int | None:
        """Count the triggers that were taken."""
        return len(self._taken)

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "triggers"
