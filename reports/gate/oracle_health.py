"""Can the suite still see a race? Releases that are known to have one must show it."""

from collections.abc import Iterator

from lab.environments.pins import pinned
from reports.gate.decision import Check, GateRow, Status, row_of, shortened
from reports.gate.evidence import Evidence, question, subject, where
from reports.gate.policy import KnownBad, OracleHealth, within
from reports.grouping import grouped
from reports.trials import Trial

CHECK: Check = "oracle health"


def oracle_health(evidence: Evidence, wanted: OracleHealth) -> Iterator[GateRow]:
    """Say of every race that the policy names whether a known-bad release showed it.

    What counts are the suite's own checks (--expect-known), and other runs of such a release as it
    was published; a patched build may well be clean. The last run of a test that can tell counts:
    teeth that were lost since are not made up for by what was shown before. Rows bear on every
    build, for a suite without teeth finds all of them safe.
    """
    own = {trial.number for trial in evidence.references}
    checks = [t for t in evidence.trials if t.number in own or t.build.published]
    for bad in wanted.known_bad:
        groups = grouped((trial for trial in checks if _is_check(trial, bad)), question)
        rows = [row for group in groups.values() if (row := _judged(group, bad))]
        yield from (row for row in rows if row.status != "pass")
        if caught := [row for row in rows if row.status == "pass"]:
            places = sorted({row.subject.partition(" on ")[2] for row in caught})
            status: Status = "pass"
            detail = f"still caught, by {len(caught)} tests: {shortened(places, between='; ')}"
        elif not rows and not bad.required:
            continue
        else:
            status = "unknown"
            detail = (
                f"no known-bad release ({bad.airflow}) has shown it in these runs, so that a "
                f"clean release proves little. Run one, and gate both: pytest suites/ "
                f"-k {bad.scenario} --expect-known --airflow {_one_of(bad)}"
            )
        yield row_of(CHECK, f"scenario {bad.scenario}", status, detail)


def _one_of(bad: KnownBad) -> str:
    """Return the newest pinned release that a policy names known-bad."""
    return next((each for each in reversed(pinned()) if within(each, bad.airflow)), "VERSION")


def shown_bad(evidence: Evidence) -> frozenset[str]:
    """Return the labels of the known-bad builds that broke a promise in the suite's own check."""
    return frozenset(t.build.label for t in evidence.references if t.verdict == "invalid")


def _is_check(trial: Trial, bad: KnownBad) -> bool:
    known = trial.record.known if trial.record else None
    return (
        known is not None
        and known.scenario == bad.scenario
        and known.affected
        and known.must_show
        and within(trial.build.version, bad.airflow)
    )


def _judged(trials: list[Trial], bad: KnownBad) -> GateRow | None:
    """Judge the last trial that can tell; None where none can, for then it showed nothing."""
    judged = [t for t in trials if t.record and t.record.verdict != "unknown"]
    if not judged:
        return None
    last, record = judged[-1], judged[-1].record
    assert record is not None
    if record.shown:
        return row_of(CHECK, subject(last), "pass", f"showed {bad.scenario}")
    seen = ", ".join(sorted(record.broken)) or "nothing"
    detail = (
        f"it is known to have {bad.scenario}, and showed {seen}: the suite has lost its teeth, "
        f"or this build has a fix. See {where(last)}"
    )
    return row_of(CHECK, subject(last), "unknown", detail)
