"""What the page of races shows: each known race, where it was seen, and what explorations did.

The races are the scenarios', as docs/races.md has them, and where they were seen is what was kept
of earlier runs, with the runs of the site in the place of older ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.version import Version

from reports.grouping import grouped
from reports.races import Seen, Sight, known_races, read_seen, renewed, seen_in, tries
from reports.records import Explored, ExploredFind, TestRecord
from reports.statistics import Rate
from reports.store import Runs
from scenarios.scenario import Scenario

WIDE, HIGH = 160, 36
"""Pixels of the drawing of how coverage grew."""


@dataclass(frozen=True)
class RaceView:
    """A known race: its scenario, and what was seen of it, by release, the newest first.

    `tried` is how often it showed itself all the same where its `meanwhile` was done.
    """

    scenario: Scenario
    seen: tuple[tuple[str, Sight], ...]
    tried: tuple[tuple[str, Sight], ...] = ()

    @property
    def severity(self) -> str:
        """How bad it is; what Airflow's makers call its design is called that."""
        return "by design" if self.scenario.by_design else self.scenario.severity

    @property
    def has(self) -> str:
        """Which releases have it."""
        return ", ".join(sorted(map(str, self.scenario.has), reverse=True)).replace(".dev0", "")

    @property
    def why(self) -> str:
        """How it comes about."""
        return " ".join(self.scenario.because.split())

    def shows(self, sight: Sight) -> str:
        """Return the word for what was seen on a release, as the matrix has it."""
        return "reproduced" if sight.shown else "clean"


@dataclass(frozen=True)
class Found:
    """What explorations found: a known race or, without a name, something new; `first` is the round
    that showed it first, by the count of all sessions."""

    name: str
    broken: str
    rounds: int
    first: int


@dataclass(frozen=True)
class ExplorationView:
    """The explorations of one Airflow with the settings of one world, over all sessions shown.

    `last` says what was covered in the end; `rounds` and `unknown` are those of these sessions.
    """

    where: str
    world: str
    sessions: int
    rounds: int
    unknown: int
    last: Explored
    found: tuple[Found, ...]

    @property
    def bound(self) -> str:
        """How often a race that was not found may still show itself in a round."""
        return Rate(0, max(0, self.rounds - self.unknown)).text()

    @property
    def hours(self) -> str:
        """How long all sessions took together."""
        minutes = self.last.seconds / 60
        return f"{minutes:.0f} min" if minutes < 2 * 60 else f"{minutes / 60:.1f} h"

    @property
    def growth(self) -> str:
        """The points of a line: rounds to the right, pairs upwards; empty where there are none."""
        points = self._steps
        if len(points) == 1:
            return ""
        rounds, pairs = points[-1][0], points[-1][1] or 1
        return " ".join(
            f"{WIDE * r / rounds:.1f},{HIGH - (HIGH - 2) * p / pairs:.1f}" for r, p in points
        )

    @property
    def grew(self) -> str:
        """How much the last session added, in words."""
        (rounds, pairs), (more, many) = [(0, 0), *self._steps][-2:]
        return f"{many - pairs:,} new pairs in the last {more - rounds:,} rounds"

    @property
    def _steps(self) -> list[tuple[int, int]]:
        """Return (rounds, pairs) from nothing on, each number of rounds once."""
        return sorted({0: 0, **dict(self.last.growth)}.items())


def races(runs: Runs) -> list[RaceView]:
    """Return the known races, the gravest first."""
    known = known_races()
    seen = renewed(read_seen(), seen_in(runs, known))
    return [
        RaceView(each, _sights(each.name, seen), _sights(tries(each.name), seen)) for each in known
    ]


def _sights(race: str, seen: Seen) -> tuple[tuple[str, Sight], ...]:
    found = seen.get(race, {})
    return tuple((each, found[each]) for each in sorted(found, key=Version, reverse=True))


def explorations(runs: Runs) -> list[ExplorationView]:
    """Return what explorations did, by Airflow and world; the runs are in order of time."""
    records = [record for record in runs.tests if record.explored]
    groups = grouped(records, lambda each: (each.environment, each.build, each.explored.world))  # type: ignore[union-attr]
    return [_view(list(group)) for group in groups.values()]


def _view(records: Sequence[TestRecord]) -> ExplorationView:
    did = [record.explored for record in records if record.explored]
    return ExplorationView(
        where=records[-1].environment,
        world=did[-1].world,
        sessions=len(records),
        rounds=sum(each.rounds for each in did),
        unknown=sum(each.unknown for each in did),
        last=did[-1],
        found=tuple(_found([find for each in did for find in each.finds])),
    )


def _found(finds: Sequence[ExploredFind]) -> Iterator[Found]:
    """Yield what is new, then the known races; a find that did not show itself again is none."""
    counted = [find for find in finds if find.race or find.again]
    by_race = grouped(counted, lambda find: find.race or " ".join(find.broken))
    for group in sorted(by_race.values(), key=lambda group: (bool(group[0].race), group[0].race)):
        broken = sorted({name for find in group for name in find.broken})
        first = min(find.round for find in group) + 1
        yield Found(group[0].race, ", ".join(broken), len(group), first)
