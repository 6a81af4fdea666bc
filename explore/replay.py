"""Replaying a schedule, and shrinking it to the fewest preemptions that still break the promise."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from msgspec.structs import replace

from common.errors import UserError
from common.files import write_whole
from explore import schedule as schedules
from explore.coverage import Coverage
from explore.explorer import Explorer, Find
from explore.plan import Plan
from explore.schedule import BY_PERSON, WORK, Deed, Schedule
from explore.strategies import Replay, Strategy, Yields
from lab.base import Lab
from reports.statistics import Rate

log = logging.getLogger(__name__)

TRIALS, NEEDED = 3, 2
"""Rounds that a shrunken schedule gets, and in how many of them it must show itself: what comes of
chance alone, as a race does now and then without any preemption, is no explanation."""

_MOST_PAIRS = 5


@dataclass(frozen=True)
class Replayed:
    """Draws the same round each time: the schedule's."""

    schedule: Schedule

    def draw(self, number: int, coverage: Coverage, usual: int) -> tuple[Plan, Strategy]:  # noqa: ARG002
        """Return the schedule's plan, and who replays it."""
        plan = Plan("", self.schedule.watched, self.schedule.deeds)
        return plan, strategy_of(self.schedule)


def strategy_of(schedule: Schedule) -> Strategy:
    """Return the strategy that replays a schedule: step by step, or by its yields."""
    if schedule.steps:
        return Replay(schedule.order)
    yields: dict[str, list[str]] = {}
    for process, point in map(str.split, schedule.yields):
        yields.setdefault(process, []).append(point)
    return Yields(yields)


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
            return f"no round could tell ({self.unknown} unknown)"
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

    It was shown where a round broke one of the promises that the schedule says. How often of those
    that could be judged is told also where a person stops it.
    """
    source = Replayed(schedule)
    explorer = Explorer(lab, folder, schedule.seed, source, tell=tell, advises=False)
    wanted = set(schedule.broken)

    def shown() -> int:
        return sum(bool(wanted & find.broken) for find in explorer.finds)

    def so_far() -> Shown:
        kept = sorted(explorer.kept)
        judged = max(shown(), explorer.totals.rounds - explorer.totals.unknown)
        return Shown(
            Rate(shown(), judged),
            kept[len(kept) // 2] if kept and schedule.steps else 0.0,
            explorer.totals.unknown,
            [find for find in explorer.finds if wanted & find.broken],
        )

    def over() -> bool:
        missed = explorer.number - shown()
        clear = needed and (shown() >= needed or missed > count - needed)
        return bool(clear) or explorer.number >= count

    try:
        explorer.explore(over)
    except KeyboardInterrupt:
        tell(so_far().text)
        raise
    return so_far()


def shrink(
    lab: Lab, schedule: Schedule, folder: Path, tell: Callable[[str], None] = log.info
) -> Schedule:
    """Return the schedule with the fewest preemptions that still shows the violation.

    It is written into `folder`, beside the history of a round that shows it. Its moves are left out
    if it shows itself without them, else each is made before the point that came next. Tried are
    the preemptions that stood last before it: none, each alone, then in pairs.
    Raises UserError where none shows it.
    """
    schedule = _unmoved(lab, schedule, folder / "moves", tell)
    for number, yields in enumerate(candidates(schedule)):
        deeds = bound(schedule, yields)
        wanted = replace(schedule, steps=[], deeds=deeds, yields=yields, strategy="yields")
        shown = replay(lab, wanted, TRIALS, folder / f"{number}", needed=NEEDED)
        what = ", ".join(yields) or "no preemption"
        tell(f"{what}: {shown.text}")
        if shown.rate.hits >= NEEDED:
            return _written(wanted, shown.finds[0], folder)
    raise UserError(
        "No schedule with fewer preemptions showed it again.",
        "Replay the schedule itself: python -m explore replay FILE --count 20.",
    )


def _unmoved(lab: Lab, schedule: Schedule, folder: Path, tell: Callable[[str], None]) -> Schedule:
    """Return the schedule without its moves, where it shows the violation without them."""
    if not schedule.moves:
        return schedule
    deeds = [deed for deed in schedule.deeds if deed.do in WORK]
    without = replace(schedule, deeds=deeds)
    shown = replay(lab, without, TRIALS, folder, needed=NEEDED)
    what = ", ".join(dict.fromkeys(deed.do for deed in schedule.moves))
    tell(f"without {what}: {shown.text}")
    return without if shown.rate.hits >= NEEDED else schedule


def bound(schedule: Schedule, yields: Sequence[str]) -> list[Deed]:
    """Return its deeds, each move before a point, and without those that came too late.

    Who is killed, frozen or fails does so at its own next point. What a person does is done once
    the first that yields stands where it was preempted, so that it comes in between.
    """
    order = schedule.order[: schedule.until or None]
    there = tuple(yields[0].split()) if yields else ("", "")
    between = max((n for n, step in enumerate(order) if step == there), default=None)

    def before(deed: Deed) -> str:
        left = range(deed.at, len(order))
        own = (n for n in left if order[n][0] == deed.target and deed.do in ("kill", "pause"))
        number = next(own, deed.at)
        if between is not None and deed.do in BY_PERSON:
            number = between
        process, point = order[number]
        return f"{process} {point} {order[: number + 1].count((process, point))}"

    return [
        deed if deed.do in WORK else replace(deed, before=before(deed))
        for deed in schedule.deeds
        if deed.do in WORK or deed.at < len(order)
    ]


def _written(wanted: Schedule, find: Find, folder: Path) -> Schedule:
    """Write what shows it, as it was seen to; nothing is left of the others."""
    there = find.schedule
    passed = [f"{process} {point}" for process, point in there.order]
    wanted = replace(wanted, yields=sorted(wanted.yields, key=_first(passed)))
    known = wanted.statements | there.statements
    small = replace(wanted, statements=known, broken=there.broken, witness=there.witness)
    history = find.folder / "history.ndjson"
    kept = history.read_bytes() if history.exists() else b""
    for each in folder.iterdir():
        shutil.rmtree(each)
    write_whole(folder / history.name, kept)
    schedules.write(small, folder / "schedule.yaml")
    return small


def _first(passed: Sequence[str]) -> Callable[[str], int]:
    """Return what tells when a point was passed first, last of all what never was."""
    return lambda point: passed.index(point) if point in passed else len(passed)


def candidates(schedule: Schedule) -> Iterator[list[str]]:
    """Yield which preemptions to try, the fewest first, and the latest of the schedule first.

    Where a person does something, none come last: it is in between of something that it does it.
    """
    texts = [f"{process} {point}" for process, point in schedule.preemptions]
    by_person = any(deed.do in BY_PERSON for deed in schedule.deeds)
    if not by_person:
        yield []
    for each in texts:
        yield [each]
    for pair in combinations(texts[:_MOST_PAIRS], 2):
        yield list(pair)
    if by_person:
        yield []
