"""Finds: which round broke a promise, what is written down of it, and where it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from explore.rounds import Round
from explore.schedule import Schedule
from oracle.events import DagRunEvent
from oracle.invariants import Violation
from oracle.invariants.legal_transition import LegalTransition, transition_of


@dataclass
class Find:
    """A round that broke promises: where its schedule and its history are."""

    folder: Path
    schedule: Schedule
    at: float
    """Seconds since the exploration began."""

    @property
    def broken(self) -> frozenset[str]:
        """Return the promises that it broke."""
        return frozenset(self.schedule.broken)


def is_of(violation: Violation, done: Round) -> bool:
    """Tell whether a violation is of a round: by its runs' names, or by when it was.

    What came after a round was interrupted, or was over, came while all ran freely.
    """
    if (done.interrupted or done.freed) and violation.t > done.ended:
        return False
    if names := [name for name in runs_of(violation) if name.startswith("x")]:
        return any(name.startswith(f"{done.mark}-") for name in names)
    return done.began <= violation.t <= done.ended


def runs_of(violation: Violation) -> list[str]:
    """Return the names of the runs that a violation is about."""
    if violation.ti is not None:
        return [violation.ti.run_id]
    return [event.run_id for event in violation.events if isinstance(event, DagRunEvent)]


def broke(schedule: Schedule, violations: Sequence[Violation], witness: str) -> Schedule:
    """Return the schedule of a round with what it broke.

    Of transitions it has the first that broke a promise: those after it came of it.
    """
    moved = [each for each in violations if each.invariant == LegalTransition.name]
    first = transition_of(min(moved, key=lambda each: each.t).message) if moved else ""
    broken = sorted({each.invariant for each in violations})
    return replace(schedule, broken=broken, transition=first, witness=witness)


def folder_for(folder: Path, number: int) -> Path:
    """Make a folder for what a round found: a round that was interrupted is drawn once more."""
    again = 1
    while (kept := folder / (f"{number}-{again}" if again > 1 else f"{number}")).exists():
        again += 1
    kept.mkdir(parents=True)
    return kept
