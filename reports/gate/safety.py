"""No promise may be broken, but for what the policy accepts by name, for a time."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date

from reports.gate.decision import Row
from reports.gate.evidence import Evidence, Trial, grouped
from reports.gate.policy import Acceptance, Policy


def safety(evidence: Evidence, policy: Policy, today: date) -> Iterator[Row]:
    """Tell every violation of the gated builds, and what became of the acceptances.

    The suite's own checks on known-bad releases are not gated, and told as that.
    """
    accepted = policy.safety.accepted
    for (environment, _), trials in grouped(evidence.gated(), _question).items():
        broken = [trial for trial in trials if trial.told == "invalid"]
        if broken:
            yield _violation(environment, broken, accepted, today)
    yield from _kept(evidence)
    yield from _known_bad(evidence)
    yield from (_unused(each, evidence, today) for each in accepted if not _used(each, evidence))


def _question(trial: Trial) -> tuple[str, str]:
    return trial.environment, trial.test


def _violation(
    environment: str, trials: list[Trial], accepted: list[Acceptance], today: date
) -> Row:
    """Tell one test's violations; those of all its runs count, and all must be accepted."""
    using: dict[str, Acceptance] = {}
    lapsed: dict[str, Acceptance] = {}
    open_names: set[str] = set()
    counted: Counter[str] = Counter()
    for trial in trials:
        assert trial.record is not None
        left = set(trial.record.broken)
        counted.update({name: trial.record.violations[name] for name in left})
        for each in accepted:
            if covered := each.covers(trial.record):
                (lapsed if each.lapsed(today) else using)[each.name] = each
                left -= set() if each.lapsed(today) else covered
        open_names |= left or (set() if trial.record.broken else {"no invariant named"})
    seen = ", ".join(f"{name} {number}" for name, number in counted.most_common())
    runs = f" in {len(trials)} runs" if len(trials) > 1 else ""
    last = trials[-1]
    if open_names:
        detail = f"{seen}{runs}; {_why_open(last, open_names, counted, lapsed.values())}"
    else:
        by = "; ".join(
            f"accepted until {each.until} by {each.owner}: {each.reason}" for each in using.values()
        )
        detail = f"{seen}{runs}; {by}"
    return Row(
        check="safety",
        subject=f"{last.name} on {environment}",
        status="fail" if open_names else "accepted",
        detail=detail,
        airflow=last.build.label,
        version=last.build.version,
        risks=() if open_names else tuple(using),
    )


def _why_open(
    trial: Trial, open_names: set[str], counted: Counter[str], lapsed: Iterable[Acceptance]
) -> str:
    """Say why violations count, and where to look."""
    known = trial.record.known if trial.record else None
    parts = [
        f"the acceptance of {each.name} by {each.owner} lapsed on {each.until}" for each in lapsed
    ]
    if len(open_names) < len(counted):
        parts.append(f"not accepted: {', '.join(sorted(open_names))}")
    if known and trial.record and trial.record.shows_known:
        parts.append(f"known as {known.scenario} ({known.issue})")
    elif not parts:
        parts.append("new: no acceptance names it")
    return f"{'; '.join(parts)}. Hold the release and read {trial.where}/witness.txt"


def _kept(evidence: Evidence) -> Iterator[Row]:
    """Tell of each environment in which nothing was broken how much that rests on."""
    by_environment = grouped(evidence.gated(), lambda trial: (trial.environment, ""))
    for (environment, _), trials in by_environment.items():
        told = [trial for trial in trials if trial.told in ("valid", "invalid")]
        if told and not any(trial.told == "invalid" for trial in told):
            total = sum(trial.record.task_instances for trial in told if trial.record)
            yield Row(
                check="safety",
                subject=environment,
                status="pass",
                detail=f"no promise was broken: {len(told)} valid runs, {total} task instances",
                airflow=told[0].build.label,
                version=told[0].build.version,
            )


def _known_bad(evidence: Evidence) -> Iterator[Row]:
    references = (trial for trial in evidence.trials if trial.reference)
    for (environment, _), trials in grouped(references, lambda t: (t.environment, "")).items():
        broken = sum(trial.told == "invalid" for trial in trials)
        yield Row(
            check="safety",
            subject=environment,
            status="pass",
            detail=f"known bad, run as the suite's own check and not gated: "
            f"{broken} of {len(trials)} tests broke a promise",
            airflow=trials[0].build.label,
            version=trials[0].build.version,
        )


def _used(each: Acceptance, evidence: Evidence) -> bool:
    return any(trial.record and each.covers(trial.record) for trial in evidence.gated())


def _unused(each: Acceptance, evidence: Evidence, today: date) -> Row:
    lapse = f"lapsed on {each.until}; " if each.lapsed(today) else ""
    told = (trial.record for trial in evidence.gated() if trial.told in ("valid", "invalid"))
    if any(record and each.concerns(record) for record in told):
        detail = "not needed any more: nothing matched it. If that lasts, take it out of the policy"
    else:
        detail = "not put to the test in these runs"
    return Row(
        check="safety", subject=f"acceptance of {each.name}", status="pass", detail=lapse + detail
    )
