"""Counts what is new apart from what is known, for each build.

A violation is known where its test is about a race that this release has, and the race's scenario
says that it breaks that promise; or where the policy accepts it by name. Whatever else is broken
is new, however many known races are open.
"""

from collections.abc import Iterable, Iterator, Sequence

from reports.gate.decision import GateRow
from reports.gate.evidence import Evidence, latest
from reports.gate.glance import Glance
from reports.gate.policy import Acceptance
from reports.records import TestRecord
from reports.trials import Build, Trial


def new_in(record: TestRecord, accepted: Iterable[Acceptance]) -> frozenset[str]:
    """Return which broken invariants neither a known race nor an acceptance names.

    An acceptance that has lapsed still names what it did: it holds the release, and is no news.
    """
    return record.new.difference(*(each.covers(record) for each in accepted))


def glances(
    evidence: Evidence, accepted: Sequence[Acceptance], rows: Sequence[GateRow]
) -> tuple[Glance, ...]:
    """Look at each gated build, the oldest first."""
    return tuple(_glance(build, evidence, accepted, rows) for build in evidence.builds)


def _glance(
    build: Build, evidence: Evidence, accepted: Sequence[Acceptance], rows: Sequence[GateRow]
) -> Glance:
    trials = evidence.of(build)
    new, known = dict[str, None](), set[str]()
    for trial in trials:
        if trial.record is not None and trial.verdict == "invalid":
            if names := new_in(trial.record, accepted) or _unnamed(trial.record):
                new[f"{', '.join(sorted(names))} in {trial.name.short}"] = None
            known.update(race.scenario for race in trial.record.showed)
            known.update(_accepted_beside(trial.record, accepted))
    untold = {_forced(trial) for trial in trials if not evidence.answered(trial)}
    clean = {race: has for race, has in _clean(trials) if race not in known | untold}
    bears = (row for row in rows if row.status == "unknown" and row.airflow in ("", build.label))
    return Glance(
        airflow=build.label,
        new=tuple(new),
        known=tuple(sorted(known)),
        fixed=tuple(sorted(race for race, has in clean.items() if not has)),
        stayed_away=tuple(sorted(race for race, has in clean.items() if has)),
        cannot_tell=tuple(dict.fromkeys(row.subject.partition(" on Airflow ")[0] for row in bears)),
    )


def _unnamed(record: TestRecord) -> frozenset[str]:
    return frozenset() if record.broken else frozenset({"no invariant named"})


def _accepted_beside(record: TestRecord, accepted: Sequence[Acceptance]) -> Iterator[str]:
    """Name the acceptances of invariants that explain what no known race does."""
    for each in accepted:
        if each.scenario is None and each.covers(record) & record.new:
            yield each.name


def _clean(trials: Sequence[Trial]) -> Iterator[tuple[str, bool]]:
    """Yield the races that were forced and did not show, and whether the release has them."""
    for trial in latest(trials):
        if _forced(trial) and trial.verdict == "valid" and trial.record and trial.record.known:
            yield _forced(trial), trial.record.known.affected


def _forced(trial: Trial) -> str:
    """Return the race that a trial forces; empty where it has no verdict, or only may meet one."""
    known = trial.record.known if trial.record else None
    return known.scenario if known and known.must_show else ""
