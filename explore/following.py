"""Strategies that follow a schedule: each of its steps, or the few points at which it yields.

replay    step by step
yields    nobody is preempted but where a shrunken schedule says so
"""

from collections.abc import Mapping, Sequence

from explore.controller import Rest, Standing
from explore.coverage import role
from explore.schedule import Schedule
from explore.strategies import Base, Strategy


def strategy_of(schedule: Schedule) -> Strategy:
    """Return the strategy that replays a schedule: step by step, or by its yields."""
    if schedule.steps:
        return Replay(schedule.order)
    yields: dict[str, list[str]] = {}
    for process, point in map(str.split, schedule.yields):
        yields.setdefault(process, []).append(point)
    return Yields(yields)


class Replay(Base):
    """As a schedule says, step by step: `steps` are processes and the points that they pass.

    Who is not there yet is waited for, `patience` looks long. Where the round goes another way
    (an idle loop more or less), what comes too much is let past, and what never comes is left out;
    `parted` is the first step at which that was so. Idle schedulers never cease to come: once
    `EXTRA` points too much were passed in a row, the schedule is gone on with without the step.
    """

    name = "replay"

    AHEAD = 12
    EXTRA = 12
    """Points of two idle loops and some; as few, that one missing step costs two seconds."""

    def __init__(self, steps: Sequence[tuple[str, str]], patience: int = 6) -> None:
        self._steps = steps
        self._at = 0
        self._looks = 0
        self._extra = 0
        self._patience = patience
        self.parted: int | None = None

    def choose(self, standing: Sequence[Standing]) -> Standing | None:
        """Return who is next, None while that one is not there yet."""
        there = {(each.process, each.point): each for each in reversed(standing)}
        if self._at >= len(self._steps):
            return standing[0]
        if found := there.get(self._steps[self._at]):
            return self._go_on(found, self._at)
        self._looks += 1
        if self._looks <= self._patience:
            return self._blocker(standing)
        self.parted = self._at if self.parted is None else self.parted
        ahead = self._steps[self._at : self._at + self.AHEAD]
        extra = next((each for each in standing if (each.process, each.point) not in ahead), None)
        if extra is not None and self._extra < self.EXTRA:
            return self._let_past(extra)
        if nearest := next((n for n, key in enumerate(ahead) if key in there), None):
            return self._go_on(there[ahead[nearest]], self._at + nearest)
        self._at += 1
        return self._let_past(standing[0])

    def step(self, passed: int) -> int:
        """Return which step of the schedule is next: what came too much is none of its steps."""
        return self._at if self._at < len(self._steps) else max(passed, self._at)

    def _blocker(self, standing: Sequence[Standing]) -> Standing | None:
        """Return whom the next one waits for: it would be waited for in vain."""
        process = self._steps[self._at][0]
        return next((each for each in standing if process in each.blocks), None)

    def _go_on(self, each: Standing, at: int) -> Standing:
        self._at, self._looks, self._extra = at + 1, 0, 0
        return each

    def _let_past(self, each: Standing) -> Standing:
        self._looks, self._extra = 0, self._extra + 1
        return each


class Yields(Base):
    """Nobody is preempted but where the schedule says so: the fewest preemptions there are.

    Who was let past goes on for as long as it comes to points. At each of `yields` (process ->
    points) the process lets all others go first, until none of them stands any more. Schedulers do
    the same work, so whichever comes to such a point first has the part of the one that is named.
    """

    name = "yields"

    def __init__(self, yields: Mapping[str, Sequence[str]]) -> None:
        self._yields = yields
        self._last = ""
        self._coming = False
        self._patient: dict[int, int] = {}
        self._cast: dict[str, str] = {}

    LOOKS = 2
    """Looks at which nobody else stands, after which a process that yields goes on."""

    def choose(self, standing: Sequence[Standing]) -> Standing | None:
        """Return who goes on."""
        free = [each for each in standing if not self._yields_here(each)]
        if not free:
            return self._first_to_yield(standing)
        self._patient.clear()
        going_on = next((each for each in free if each.actor == self._last), None)
        if going_on is None and self._coming:
            self._coming = False
            return None
        first = going_on or free[0]
        self._last = first.actor
        return first

    def rested(self, chosen: Standing, rest: Rest) -> None:
        """Take how the step ended: who is idle comes again, unless its loop is over."""
        self._coming = rest.reason == "idle" and chosen.takes_turns

    def plays(self, process: str) -> str:
        """Return who has the part of a process."""
        return self._cast.get(process, process)

    def cast(self, process: str, who: str) -> None:
        """Give the part of a process to somebody, whoever had it."""
        self._cast = {part: each for part, each in self._cast.items() if each != who}
        self._cast[process] = who

    def _yields_here(self, each: Standing) -> bool:
        for process, points in self._yields.items():
            if each.point in points and role(process) == role(each.process):
                if each.process not in self._cast.values():
                    self._cast.setdefault(process, each.process)
                if self._cast.get(process) == each.process:
                    return True
        return False

    def _first_to_yield(self, standing: Sequence[Standing]) -> Standing | None:
        first = standing[0]
        looks = self._patient[first.ticket] = self._patient.get(first.ticket, 0) + 1
        if looks <= self.LOOKS and not first.blocks:
            return None
        self._last = first.actor
        return first
