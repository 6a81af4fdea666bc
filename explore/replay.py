"""Replaying a schedule, as often as it takes to say how often it shows its violation."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from explore.coverage import Coverage
from explore.explorer import Explorer, LabLost
from explore.finds import Find
from explore.following import strategy_of
from explore.plan import Plan
from explore.schedule import Schedule
from explore.strategies import Strategy
from lab.base import Lab
from oracle.invariants import cause_of
from reports.statistics import Rate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replayed:
    """Draws the same round each time: the schedule's."""

    schedule: Schedule

    def draw(self, number: int, coverage: Coverage, usual: int) -> tuple[Plan, Strategy]:  # noqa: ARG002
        """Return the schedule's plan, and who replays it."""
        plan = Plan("", self.schedule.watched, self.schedule.deeds)
        return plan, strategy_of(self.schedule)


@dataclass(frozen=True)
class Shown:
    """How often a schedule showed its violation again.

    `kept` is the median share of its steps that were as it says before the first that was not; a
    shrunken one has no steps.
    """

    rate: Rate
    kept: float
    unknown: int
    finds: Sequence[Find] = ()

    @property
    def text(self) -> str:
        """Say it in a line."""
        if not self.rate.trials:
            return "no round could tell" + f" ({self.unknown} unknown)" * bool(self.unknown)
        low, high = self.rate.interval()
        return (
            f"shown in {self.rate.hits} of {self.rate.trials} "
            f"{'round' if self.rate.trials == 1 else 'rounds'} "
            f"({low:.0%} to {high:.0%} at 95 %)"
            + (f", {self.unknown} unknown" if self.unknown else "")
            + (f"; half of them kept to {self.kept:.0%} of its steps" if self.kept else "")
        )


def replay(
    lab: Lab,
    schedule: Schedule,
    count: int,
    folder: Path,
    *,
    needed: int = 0,
    tell: Callable[[str], None] = log.debug,
) -> Shown:
    """Replay a schedule `count` times, or until it is clear whether `needed` of them show it.

    It was shown where a round broke the promise that names the cause of what the schedule broke;
    another may be another race. How often of those that could be judged is told also where a person
    stops it, or the lab is lost.
    """
    source, settings = Replayed(schedule), dict(schedule.settings)
    explorer = Explorer(
        lab, folder, schedule.seed, source, settings=settings, tell=tell, advises=False
    )
    wanted = cause_of(schedule.broken)

    def shown() -> int:
        return sum(wanted in find.broken for find in explorer.finds)

    def so_far() -> Shown:
        kept = sorted(explorer.kept)
        judged = max(shown(), explorer.totals.rounds - explorer.totals.unknown)
        return Shown(
            Rate(shown(), judged),
            kept[len(kept) // 2] if kept and schedule.steps else 0.0,
            explorer.totals.unknown,
            [find for find in explorer.finds if wanted in find.broken],
        )

    def over() -> bool:
        missed = explorer.number - shown() - explorer.totals.unknown
        clear = needed and (shown() >= needed or missed > count - needed)
        return bool(clear) or explorer.number >= count

    try:
        explorer.explore(over)
    except (KeyboardInterrupt, LabLost):
        tell(so_far().text)
        raise
    return so_far()
