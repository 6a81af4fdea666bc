"""Can the suite still see a race? Releases that are known to have one must show it."""

from collections.abc import Iterator

from reports.gate.decision import Row, shortened
from reports.gate.evidence import Evidence, Trial, grouped
from reports.gate.policy import KnownBad, OracleHealth, within


def oracle_health(evidence: Evidence, wanted: OracleHealth) -> Iterator[Row]:
    """Tell of every race the policy names whether a known-bad release showed it.

    What counts are the suite's own checks (--expect-known), and other runs of such a release as it
    was published; a patched build may well be clean. The last run of a test that can tell counts:
    teeth that were lost since are not made up for by what was shown before. Rows bear on every
    build, for a suite without teeth finds all of them safe.
    """
    for bad in wanted.known_bad:
        trials = [trial for trial in evidence.trials if _is_check(trial, bad)]
        groups = grouped(trials, lambda trial: (trial.environment, trial.test))
        rows = [row for group in groups.values() if (row := _judged(group, bad))]
        yield from (row for row in rows if row.status != "pass")
        caught = [row for row in rows if row.status == "pass"]
        if caught:
            places = sorted({row.subject.partition(" on ")[2] for row in caught})
            detail = f"still caught, by {len(caught)} tests: {shortened(places, between='; ')}"
            yield _row(f"scenario {bad.scenario}", detail, good=True)
        else:
            yield _row(
                f"scenario {bad.scenario}",
                f"no known-bad release ({bad.airflow}) has shown it in these runs, so that a "
                f"clean release proves little. {_hint(bad)}",
            )


def shown_bad(evidence: Evidence) -> frozenset[str]:
    """Return the labels of the known-bad builds that broke a promise in the suite's own check."""
    return frozenset(
        trial.build.label
        for trial in evidence.trials
        if trial.reference and trial.told == "invalid"
    )


def _is_check(trial: Trial, bad: KnownBad) -> bool:
    known = trial.record.known if trial.record else None
    return (
        (trial.reference or trial.build.published)
        and known is not None
        and known.scenario == bad.scenario
        and known.affected
        and known.must_show
        and within(trial.build.version, bad.airflow)
    )


def _row(subject: str, detail: str, good: bool = False) -> Row:
    return Row(
        check="oracle health",
        subject=subject,
        status="pass" if good else "unknown",
        detail=detail,
    )


def _hint(bad: KnownBad) -> str:
    return f"Run one: pytest suites/ -k {bad.scenario} --expect-known --airflow VERSION"


def _judged(trials: list[Trial], bad: KnownBad) -> Row | None:
    """Judge the last trial that can tell; None where none can, for then it showed nothing."""
    told = [t for t in trials if t.record and t.record.verdict != "unknown"]
    if not told:
        return None
    last = told[-1]
    assert last.record is not None
    subject = f"{last.name} on {last.environment}"
    if last.record.shows_known:
        return _row(subject, f"showed {bad.scenario}", good=True)
    seen = ", ".join(sorted(last.record.broken)) or "nothing"
    return _row(
        subject,
        f"it is known to have {bad.scenario}, and showed {seen}: the suite has lost its teeth, "
        f"or this build has a fix. See {last.where}",
    )
