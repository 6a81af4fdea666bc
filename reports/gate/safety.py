"""No promise may be broken, but for what the policy accepts by name, for a time."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date

from reports.gate.decision import GateRow, row_of
from reports.gate.evidence import Evidence, place, question, subject, where
from reports.gate.news import new_in
from reports.gate.policy import Acceptance, Policy
from reports.grouping import grouped
from reports.trials import Trial


def safety(evidence: Evidence, policy: Policy, today: date) -> Iterator[GateRow]:
    """Yield every violation of the gated builds, and what became of the acceptances.

    The suite's own checks on known-bad releases are not gated, and listed as that.
    """
    accepted = policy.safety.accepted
    for trials in grouped(evidence.gated, question).values():
        broken = [trial for trial in trials if trial.verdict == "invalid"]
        if broken:
            yield _violation(broken, accepted, today)
    yield from _kept(evidence)
    yield from _known_bad(evidence)
    yield from _unused([each for each in accepted if not _used(each, evidence)], evidence, today)


def _violation(trials: list[Trial], accepted: list[Acceptance], today: date) -> GateRow:
    """Judge one test's violations; those of all its runs count, and all must be accepted."""
    using: dict[str, Acceptance] = {}
    lapsed: dict[str, Acceptance] = {}
    open_names: set[str] = set()
    new: set[str] = set()
    counted: Counter[str] = Counter()
    for trial in trials:
        assert trial.record is not None
        left = set(trial.record.broken)
        counted.update({name: n for name, n in trial.record.violations.items() if n})
        for each in accepted:
            if covered := each.covers(trial.record):
                (lapsed if each.lapsed(today) else using)[each.name] = each
                left -= set() if each.lapsed(today) else covered
        new |= new_in(trial.record, accepted)
        open_names |= left or (set() if trial.record.broken else {"no invariant named"})
    last = trials[-1]
    seen = ", ".join(f"{name} {number}" for name, number in counted.most_common())
    runs = f" in {len(trials)} runs" if len(trials) > 1 else ""
    if open_names:
        why = _why_open(last, open_names, new, counted, lapsed.values())
        detail = f"{seen}{runs}; {why}"
        return row_of("safety", subject(last), "fail", detail, last.build, new=new)
    by = (f"accepted until {each.until} by {each.owner}: {each.reason}" for each in using.values())
    detail = f"{seen}{runs}; {'; '.join(by)}"
    return row_of("safety", subject(last), "accepted", detail, last.build, tuple(using))


def _why_open(
    trial: Trial,
    open_names: set[str],
    new: set[str],
    counted: Counter[str],
    lapsed: Iterable[Acceptance],
) -> str:
    """Say why violations count, and where to look."""
    known = trial.record.cause if trial.record else None
    parts = [
        f"the acceptance of {each.name} by {each.owner} lapsed on {each.until}" for each in lapsed
    ]
    if len(open_names) < len(counted):
        parts.append(f"not accepted: {', '.join(sorted(open_names))}")
    if known and known.affected:
        parts.append(f"known as {known.scenario} ({known.issue})")
    elif known:
        parts.append(f"{known.scenario} ({known.issue}), which this release is said not to have")
    if new and parts:
        parts.append(f"new: {', '.join(sorted(new))}")
    elif not parts:
        parts.append("new: no acceptance names it")
    return f"{'; '.join(parts)}. Hold the release and read {where(trial)}/witness.txt"


def _kept(evidence: Evidence) -> Iterator[GateRow]:
    """Say of each place in which nothing was broken how much that rests on."""
    for here, trials in grouped(evidence.gated, place).items():
        valid = [trial for trial in trials if trial.verdict == "valid"]
        if valid and not any(trial.verdict == "invalid" for trial in trials):
            total = sum(trial.record.task_instances for trial in valid if trial.record)
            detail = f"no promise was broken: {len(valid)} valid runs, {total} task instances"
            yield row_of("safety", here, "pass", detail, valid[0].build)


def _known_bad(evidence: Evidence) -> Iterator[GateRow]:
    for here, trials in grouped(evidence.references, place).items():
        broken = sum(trial.verdict == "invalid" for trial in trials)
        checked = "known bad, run as the suite's own check and not gated"
        detail = f"{checked}: {broken} of {len(trials)} tests broke a promise"
        yield row_of("safety", here, "pass", detail, trials[0].build)


def _used(each: Acceptance, evidence: Evidence) -> bool:
    return any(trial.record and each.covers(trial.record) for trial in evidence.gated)


def _unused(unused: Iterable[Acceptance], evidence: Evidence, today: date) -> Iterator[GateRow]:
    """Say which acceptances nothing matched, and in one row which could not be matched."""
    judged = [each.record for each in evidence.gated if each.conclusive and each.record]
    others = []
    for each in unused:
        if any(each.concerns(record) for record in judged):
            lapse = f"lapsed on {each.until}; " if each.lapsed(today) else ""
            detail = (
                "not needed any more: nothing matched it. If that lasts, take it out of the policy"
            )
            yield row_of("safety", f"acceptance of {each.name}", "pass", lapse + detail)
        else:
            others.append(each.name)
    if others:
        subject = "1 acceptance" if len(others) == 1 else f"{len(others)} acceptances"
        detail = f"not put to the test in these runs: {', '.join(sorted(others))}"
        yield row_of("safety", subject, "pass", detail)
