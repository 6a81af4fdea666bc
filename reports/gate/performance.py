"""Is a release slower than the last one, beyond what noise and the policy allow?"""

from collections.abc import Iterator

from reports.gate.decision import GateRow, Status, row_of
from reports.gate.evidence import Evidence
from reports.gate.policy import Performance
from reports.performance import FigureChange, compare
from reports.records import TestRecord, environment
from reports.resampling import Interval
from reports.trials import Build

_Valid = dict[Build, list[TestRecord]]


def performance(evidence: Evidence, wanted: Performance, against: str = "") -> Iterator[GateRow]:
    """Compare every gated build with the last release before it that is in the runs.

    `against` names another one. Only valid runs count, and like is compared with like: the same
    test, lab, number of schedulers, chart, DAGs, settings and load. A regression is one only when
    its whole interval is beyond the tolerance.
    """
    if not wanted.tests:
        return
    valid = _valid(evidence, wanted)
    for build in evidence.builds:
        base = _last_release(build, valid, against)
        if base is None:
            which = f"Airflow {against}" if against else "an earlier release"
            yield _nothing(build, f"no valid run of {which} to compare with", wanted)
            continue
        changes = compare(valid[base], valid[build], wanted.confidence)
        rows = [_judged(each, build, base, wanted) for each in changes if each.ratio]
        yield from rows
        if not rows:
            yield _nothing(build, _why_none(changes, base), wanted)


def _row(build: Build, about: str, status: Status, detail: str) -> GateRow:
    return row_of("performance", about, status, detail, build)


def _nothing(build: Build, why: str, wanted: Performance) -> GateRow:
    status: Status = "unknown" if wanted.required else "pass"
    return _row(build, f"Airflow {build.label}", status, f"not compared: {why}")


def _why_none(changes: list[FigureChange], base: Build) -> str:
    reasons = sorted({f"{each.load.test}: {each.reason}" for each in changes})
    what = reasons[0] if reasons else "no figures were left"
    more = f", and {len(reasons) - 1} others" if len(reasons) > 1 else ""
    return f"with Airflow {base.label}: {what}{more}"


def _valid(evidence: Evidence, wanted: Performance) -> _Valid:
    """Return the valid records of what the policy measures, by build, the known-bad ones too."""
    found: _Valid = {build: [] for build in evidence.builds}
    for trial in evidence.trials:
        if trial.record and wanted.measures(trial.test) and trial.verdict == "valid":
            found.setdefault(trial.build, []).append(trial.record)
    return found


def _last_release(build: Build, valid: _Valid, against: str) -> Build | None:
    """Return the newest release before a build that has valid runs in one of its environments.

    A patched build of a release is compared with that very release.
    """
    places = set(map(_place, valid[build]))
    others = [
        other
        for other, records in valid.items()
        if other != build and not places.isdisjoint(map(_place, records))
    ]
    if against:
        return next((other for other in others if other.called(against)), None)
    before = [
        other
        for other in others
        if other.published and not other.age[0].is_prerelease and other.age[0] <= build.age[0]
    ]
    return max(before, key=lambda other: other.age, default=None)


def _place(record: TestRecord) -> tuple[str, int, str]:
    return record.lab, record.schedulers, record.conditions


def _judged(change: FigureChange, build: Build, base: Build, wanted: Performance) -> GateRow:
    assert change.ratio is not None
    load = change.load
    low, high = _slowdown(change.ratio, change.measure.bigger_is_better)
    # The policy's keys are the figures' names.
    allowed = float(getattr(wanted.tolerance, change.measure.name.replace(" ", "_")))
    place = environment(build.label, load.lab, load.schedulers)
    where = ", ".join(filter(None, (place, load.conditions)))
    subject = f"{change.measure.name} of {load.test} on {where}"
    text = (
        f"{change.text().partition(': ')[2]} against Airflow {base.label}, "
        f"{change.base_runs} and {change.new_runs} runs of {load.task_instances} task instances"
    )
    limit = f"{allowed:g} times slower is tolerated"
    if low > allowed:
        hint = "Profile the scheduler, or raise the tolerance in the policy"
        return _row(build, subject, "fail", f"{text}: slower beyond doubt, {limit}. {hint}")
    if high > allowed:
        return _row(
            build, subject, wanted.undecided, f"{text}: undecided, {limit}. More runs would decide"
        )
    return _row(build, subject, "pass", f"{text}: {limit}")


def _slowdown(ratio: Interval, bigger_is_better: bool) -> tuple[float, float]:
    """Return how many times slower it is, from at least to at most, whatever way is good."""
    if not bigger_is_better:
        return ratio.low, ratio.high
    invert = [1 / bound if bound > 0 else float("inf") for bound in (ratio.high, ratio.low)]
    return invert[0], invert[1]
