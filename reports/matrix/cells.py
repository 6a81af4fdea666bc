"""What the runs of one Airflow say to one question: the cells of the matrix."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from reports.matrix.naming import Asked
from reports.records import TestRecord
from reports.statistics import Rate, percent

Status = Literal["reproduced", "clean", "unconfirmed", "not applicable"]

_GRAVITY: tuple[Status, ...] = ("reproduced", "unconfirmed", "clean", "not applicable")


@dataclass(frozen=True)
class Attempt:
    """One test that was to run: its record, or None where it has none: `skipped`, or broken."""

    asked: Asked
    record: TestRecord | None
    skipped: bool = False


@dataclass(frozen=True)
class Cell:
    """What one Airflow's runs say to one question.

    `rate` counts the runs that can tell: those that showed the known race, of those and the valid
    ones. `unknown` could not tell. `others`: broken promises that are not the race's, by number of
    runs; where a flood ended at one of them, nothing is known of the race. `silent`: tests that
    force the race, on a release that is known to have it, and never showed it. `known`: whether
    there is a race that the question is about; a fault is about all promises.
    """

    status: Status
    rate: Rate
    unknown: int = 0
    skipped: int = 0
    others: tuple[tuple[str, int], ...] = ()
    silent: tuple[str, ...] = ()
    known: bool = True
    affected: bool = False
    by_design: bool = False
    seeds: frozenset[int] = frozenset()
    outcomes: tuple[tuple[str, int, bool], ...] = ()

    def text(self, *, bounds: bool = True) -> str:
        """Say it in one line: "clean: 0 of 20, at most 13.9 %"."""
        told = [self._rate(bounds)] if self.rate.trials else []
        if broken := sum(number for _, number in self.others):
            told.append(f"{broken} broke {'another' if self.known else 'a'} promise")
        if self.unknown:
            told.append(f"{self.unknown} unknown")
        return f"{self.status}: {', '.join(told)}" if told else self.status

    def _rate(self, bounds: bool) -> str:
        if not self.known:
            return f"{self.rate.trials} valid"
        seen = f"{self.rate.hits} of {self.rate.trials}"
        if not bounds or self.rate.hits == self.rate.trials:
            return seen
        if self.rate.hits == 0:
            return f"{seen}, at most {percent(self.rate.at_most())}"
        low, high = self.rate.interval()
        return f"{seen}, {percent(low)} to {percent(high)}"


def cell(attempts: Iterable[Attempt]) -> Cell:
    """Judge all runs of one Airflow that put the same question.

    Each of its tests is judged for itself, and the gravest counts: a scenario is not clean while
    one of its permutations could not tell.
    """
    groups: dict[Asked, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        groups[attempt.asked].append(attempt)
    parts = [_cell(asked, group) for asked, group in sorted(groups.items())]
    others: Counter[str] = Counter()
    for part in parts:
        others.update(dict(part.others))
    return Cell(
        status=min((part.status for part in parts), key=_GRAVITY.index),
        rate=sum((part.rate for part in parts), Rate(0, 0)),
        unknown=sum(part.unknown for part in parts),
        skipped=sum(part.skipped for part in parts),
        others=tuple(sorted(others.items())),
        silent=tuple(name for part in parts for name in part.silent),
        known=any(part.known for part in parts),
        affected=any(part.affected for part in parts),
        by_design=any(part.by_design for part in parts),
        seeds=frozenset().union(*(part.seeds for part in parts)),
        outcomes=tuple(outcome for part in parts for outcome in part.outcomes),
    )


def _cell(asked: Asked, attempts: list[Attempt]) -> Cell:
    """Judge the runs of one test."""
    records = [attempt.record for attempt in attempts if attempt.record]
    telling = [record for record in records if tells(record)]
    hits = sum(record.shows_known for record in telling)
    others = Counter(
        ", ".join(sorted(record.broken))
        for record in records
        if record.verdict == "invalid" and not record.shows_known
    )
    skipped = sum(attempt.skipped for attempt in attempts)
    known = [record.known for record in records if record.known]
    must = any(race.affected and race.must_show for race in known)
    silent = bool(must and telling and not hits)
    return Cell(
        status=_status(attempts, Rate(hits, len(telling)), bool(others) or silent, skipped),
        rate=Rate(hits, len(telling)),
        unknown=len(attempts) - skipped - len(telling) - sum(others.values()),
        skipped=skipped,
        others=tuple(others.items()),
        silent=(asked.name,) if silent else (),
        known=bool(known),
        affected=any(race.affected for race in known),
        by_design=any(race.by_design for race in known),
        seeds=frozenset(record.seed for record in records),
        outcomes=tuple((asked.name, record.seed, record.shows_known) for record in telling),
    )


def tells(record: TestRecord) -> bool:
    """Tell whether a run says anything of the race: it showed it, or was valid.

    A run that broke another promise may have ended before the race could show.
    """
    return record.verdict == "valid" or record.shows_known


def _status(attempts: list[Attempt], rate: Rate, doubtful: bool, skipped: int) -> Status:
    if rate.hits:
        return "reproduced"
    if skipped == len(attempts):
        return "not applicable"
    return "clean" if rate.trials and not doubtful else "unconfirmed"
