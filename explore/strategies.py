"""Strategies: who of those that stand is let past next.

    random    anyone, evenly
    pct       the highest of random priorities, lowered at d - 1 random steps
    pos       the highest of random priorities that each statement draws, and its rivals draw anew
    learning  whoever makes an order of two statements that was not seen yet
    stale     anyone but one that reads, until another has written what it reads

Those that follow a schedule are in `explore.following`.

PCT (Burckhardt et al., 2010) finds a bug of depth d, one that needs d ordering constraints, in a
round with a probability of at least 1 / (n k^(d-1)), where n actors make k steps. Here an actor is
a scheduler, a triggerer or one request to the API server, a step is a point passed; the bound
holds for steps that are controlled. With n = 2 schedulers and k = 100, a race of depth 2 shows
itself in one round of 200 or fewer, one of depth 3 in one of 20,000: so points are few
(`points.LEVELS`), and d is deepened from round to round.
"""

from collections.abc import Sequence
from random import Random
from typing import Protocol

from explore.controller import Rest, Standing
from explore.coverage import Coverage

DEEPEST = 6
_LEARNS = 0.7


class Strategy(Protocol):
    """Chooses one of those that stand; made anew for each round."""

    name: str

    def choose(self, standing: Sequence[Standing]) -> Standing | None:
        """Return who is let past, None to wait for somebody else to come."""
        ...

    def rested(self, chosen: Standing, rest: Rest) -> None:
        """Take how the step ended."""
        ...

    def step(self, passed: int) -> int:
        """Return which step of the plan is next, where so many points were passed."""
        ...

    def plays(self, process: str) -> str:
        """Return who has the part of a process that the plan names."""
        ...

    def cast(self, process: str, who: str) -> None:
        """Give the part of a process to somebody."""
        ...


def bound(actors: int, steps: int, depth: int) -> float:
    """Return the least probability that a PCT round shows a race of a depth."""
    return 1.0 / (actors * float(max(1, steps)) ** (depth - 1))


def depth_of(number: int, deepest: int = DEEPEST) -> int:
    """Return PCT's depth in a round: 2, then 2 and 3, then 2, 3 and 4, and so on."""
    top = 2
    while number >= top - 1:
        number -= top - 1
        top = min(top + 1, deepest)
    return 2 + number


class Base:
    """What strategies have in common: nobody learns, casts, or counts anything but points."""

    name = ""

    def rested(self, chosen: Standing, rest: Rest) -> None:
        """Take how the step ended."""

    def step(self, passed: int) -> int:
        """Return which step is next: each point that was passed is one."""
        return passed

    def plays(self, process: str) -> str:
        """Return who has the part of a process: itself."""
        return process

    def cast(self, process: str, who: str) -> None:
        """Leave it to that one."""


class RandomWalk(Base):
    """Anyone of those that stand, evenly."""

    name = "random"

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def choose(self, standing: Sequence[Standing]) -> Standing:
        """Return who is let past."""
        return self._rng.choice(standing)


class PCT(Base):
    """Probabilistic concurrency testing: priorities, and d - 1 steps at which one is lowered.

    `steps` is how many a round has, about: the change points are drawn among as many.
    """

    name = "pct"

    def __init__(self, rng: Random, depth: int, steps: int) -> None:
        self._rng = rng
        self._priorities: dict[str, float] = {}
        drawn = rng.sample(range(max(steps, depth)), depth - 1)
        self._changes = {step: depth - 1 - n for n, step in enumerate(drawn)}
        self._step = 0
        self._coming = ""

    def rested(self, chosen: Standing, rest: Rest) -> None:
        """Take how the step ended: who is idle comes again, unless its loop is over."""
        self._coming = chosen.actor if rest.reason == "idle" and chosen.takes_turns else ""

    def choose(self, standing: Sequence[Standing]) -> Standing | None:
        """Return the one of the highest priority, or whoever that one waits for.

        None where who went last has a higher one: it is between two transactions, and about to
        come.
        """
        first = self._first(standing)
        coming, self._coming = self._coming, ""
        if coming and self._priority(coming) > urgency(first, self._priority):
            return None
        if lowered := self._changes.get(self._step):
            self._priorities[first.actor] = -lowered
            first = self._first(standing)
        self._step += 1
        return first

    def _first(self, standing: Sequence[Standing]) -> Standing:
        return max(standing, key=lambda each: urgency(each, self._priority))

    def _priority(self, actor: str) -> float:
        if actor not in self._priorities:
            self._priorities[actor] = self._rng.random()
        return self._priorities[actor]


def urgency(standing: Standing, priority: "Priority") -> float:
    """Return somebody's priority, or that of whoever waits for a lock that it holds."""
    return max(map(priority, (standing.actor, *standing.blocks)))


class Priority(Protocol):
    """Gives an actor's priority."""

    def __call__(self, actor: str, /) -> float:
        """Return the priority of an actor."""
        ...


class PartialOrder(Base):
    """Partial-order sampling (Yuan et al., 2018): a priority for each statement, not each actor.

    Whatever is in the way of the statement that goes first draws anew, so that orders which
    differ are drawn more evenly than steps are.
    """

    name = "pos"

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._priorities: dict[int, float] = {}

    def choose(self, standing: Sequence[Standing]) -> Standing:
        """Return the one of the highest priority."""
        now = {each.ticket: self._of(each) for each in standing}
        first = max(standing, key=lambda each: now[each.ticket])
        touched = first.statement.footprint
        self._priorities = {
            each.ticket: now[each.ticket]
            for each in standing
            if each is not first and not touched.meets(each.statement.footprint)
        }
        return first

    def _of(self, each: Standing) -> float:
        return self._priorities.get(each.ticket, self._rng.random())


class Learning(PCT):
    """Favours orders that no round has shown yet, by the pairs that the coverage knows.

    Where somebody would make a new pair by going on, after what was done last to the same tables,
    that one goes first; else, and now and then anyhow, it is PCT that leads on to where orders are
    left that nobody has seen.
    """

    name = "learning"

    def __init__(self, rng: Random, coverage: Coverage, depth: int, steps: int) -> None:
        super().__init__(rng, depth, steps)
        self._coverage = coverage

    def choose(self, standing: Sequence[Standing]) -> Standing | None:
        """Return who makes most orders that were not seen."""
        led = super().choose(standing)
        if led is None or self._rng.random() > _LEARNS:
            return led
        news = {each.ticket: self._coverage.news(each) for each in standing}
        best = max(standing, key=lambda each: (news[each.ticket], each is led))
        return best if news[best.ticket] else led


class StaleReads(Base):
    """Keeps one that reads where it stands until another has written what it reads.

    One reads, another commits, and the first acts on what it read: most of what goes wrong between
    schedulers is of this form. So now and then whoever comes to a statement is kept there, with its
    snapshot, and anybody else goes on. It goes next once another has written one of its tables and
    committed that, or once nobody else is left. Then the next one is kept.
    """

    name = "stale"

    KEPT = 0.3
    """Of those that come to a statement while nobody is kept."""

    LOOKS = 2
    """Looks at which nobody else stands, after which who is kept goes on."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._kept: Standing | None = None
        self._ripe = False
        self._looks = 0
        self._met: set[int] = set()
        self._wrote: dict[str, frozenset[str]] = {}

    def choose(self, standing: Sequence[Standing]) -> Standing | None:
        """Return who is let past, None while only who is kept stands."""
        for each in standing:
            self._meet(each)
        ticket = self._kept.ticket if self._kept else None
        kept = next((each for each in standing if each.ticket == ticket), None)
        others = [each for each in standing if each is not kept]
        if kept is None:
            self._kept = None
            return self._rng.choice(others)
        if not (self._ripe or kept.blocks):
            if others:
                self._looks = 0
                return self._rng.choice(others)
            self._looks += 1
            if self._looks <= self.LOOKS:
                return None
        self._kept, self._ripe, self._looks = None, False, 0
        return kept

    def _meet(self, each: Standing) -> None:
        """Keep somebody now and then who has just come; a commit reads nothing any more."""
        new = each.ticket not in self._met
        self._met.add(each.ticket)
        if new and self._kept is None and each.statement.text and self._rng.random() < self.KEPT:
            self._kept, self._ripe = each, False
            self._wrote.clear()

    def rested(self, chosen: Standing, rest: Rest) -> None:
        """Take what was written; it is committed once who wrote it is outside of a transaction."""
        written = chosen.statement.footprint.written
        wrote = self._wrote[chosen.actor] = self._wrote.get(chosen.actor, frozenset()) | written
        over = rest.reason in ("idle", "ended") or not chosen.statement.text
        if over and self._kept is not None and self._kept.actor != chosen.actor:
            self._ripe |= bool(wrote & self._kept.statement.footprint.tables)


def drawn(name: str, rng: Random, coverage: Coverage, depth: int, steps: int) -> Strategy:
    """Make a strategy that explores, by its name, for one round."""
    if name == PCT.name:
        return PCT(rng, depth, steps)
    if name == Learning.name:
        return Learning(rng, coverage, depth, steps)
    if name == StaleReads.name:
        return StaleReads(rng)
    return PartialOrder(rng) if name == PartialOrder.name else RandomWalk(rng)


EXPLORING = (PCT.name, StaleReads.name, PartialOrder.name, Learning.name, RandomWalk.name)
"""Those that explore."""

TURNS = (
    *(StaleReads.name, PCT.name, StaleReads.name, PartialOrder.name),
    *(StaleReads.name, Learning.name, StaleReads.name, RandomWalk.name),
)
"""In which turn rounds have them: every other one looks for stale reads, which most races are."""
