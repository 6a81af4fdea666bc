"""Was everything done that the answer rests on? What is missing is never good news."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.gate.decision import GateRow, nobody_ran, row_of, shortened
from reports.gate.evidence import Evidence, latest, place, question, subject, where
from reports.gate.policy import Completeness
from reports.grouping import grouped
from reports.store import VERDICT, RunFolder
from reports.trials import Build, Trial

_BAD_ENDS = {2: "interrupted", 3: "an internal error", 4: "a wrong command line"}
"""Exit statuses with which pytest stops before it has run what was asked for."""


def completeness(
    evidence: Evidence, wanted: Completeness, airflow: Sequence[str] = ()
) -> Iterator[GateRow]:
    """Yield what is missing, and of each place how much was judged.

    `airflow` are builds that were asked for by name: they must be there.
    """
    for run in evidence.runs.folders:
        yield from _unreadable(run)
        yield from _cut_short(run, evidence)
    for trials in grouped(_open(evidence), question).values():
        yield _cannot_tell(trials)
    yield from _reported(evidence)
    yield from _mixed(evidence)
    for name in dict.fromkeys([*wanted.versions, *airflow]):
        if not any(build.called(name) for build in evidence.builds):
            yield nobody_ran(name)
    for build in evidence.builds:
        yield from _enough(build, evidence, wanted)
    if not evidence.builds:
        yield _row("runs", "there is no run of a release to be gated. Make one: pytest suites/")


def _row(about: str, detail: str, build: Build | None = None, good: bool = False) -> GateRow:
    return row_of("completeness", about, "pass" if good else "unknown", detail, build)


def _unread(run: RunFolder) -> list[Path]:
    """Return the tests' folders whose verdict.json is there and cannot be read."""
    read = {record.folder for record in (*run.tests, *run.others)}
    folders = sorted((run.path / "tests").glob("*"))
    return [path for path in folders if (path / VERDICT).exists() and str(path) not in read]


def _unreadable(run: RunFolder) -> Iterator[GateRow]:
    """Name records that are there and cannot be read: they may say anything, and no rerun helps."""
    hint = "Test again, and keep this folder out of the gate"
    if run.session is None:
        yield _row(run.path.name, f"{_why(run, run.path)}. {hint}")
    if lost := _unread(run):
        names = shortened([path.name for path in lost])
        yield _row(f"{run.path.name}/tests", f"{names}: {_why(run, lost[0])}. {hint}")


def _why(run: RunFolder, folder: Path) -> str:
    """Return what was found wrong with a file right in a folder, without the folder's path."""
    for line in run.problems:
        what = line.removeprefix(f"{folder}/").removeprefix(f"{folder}: ")
        if what != line and not what.startswith("tests/"):
            return what
    return "it cannot be read"


def _cut_short(run: RunFolder, evidence: Evidence) -> Iterator[GateRow]:
    """Name sessions that did not end well, in one row each, unless later runs made them good."""
    session = run.session
    gated = [trial for trial in evidence.gated if trial.run is run]
    if session is None or (not gated and any(trial.run is run for trial in evidence.trials)):
        return
    undone = [trial for trial in gated if trial.never_ended and not evidence.answered(trial)]
    if undone:
        names = shortened([trial.id for trial in undone])
        total = f"{len(undone)} of {len(session.collected)} collected tests"
        detail = f"{total} never ended: {names}. Run them again"
        yield _row(run.path.name, detail, gated[0].build)
    elif gated and all(map(evidence.answered, gated)):
        return
    elif session.ended is None and not session.collected:
        yield _row(run.path.name, "the session was killed before it had collected its tests")
    elif why := _BAD_ENDS.get(session.exit_status or 0):
        status = f"pytest ended with exit status {session.exit_status}, {why}"
        yield _row(run.path.name, f"{status}. Read its output, and run it again")


def _open(evidence: Evidence) -> Iterator[Trial]:
    """Go through what ended and cannot tell, as long as no later run of the same has resolved it.

    What never ended is listed with its session, what cannot be read with its run.
    """
    for trial in evidence.gated:
        unread = trial.record is None and _unread(trial.run)
        if not (trial.never_ended or unread or evidence.answered(trial)):
            yield trial


def _cannot_tell(trials: list[Trial]) -> GateRow:
    last = trials[-1]
    times = f" (the last of {len(trials)} such runs)" if len(trials) > 1 else ""
    hint = f"See {where(last)}, and run it again"
    return _row(subject(last), f"{last.trouble}{times}. {hint}", last.build)


def _reported(evidence: Evidence) -> Iterator[GateRow]:
    """Say of each place how many of the tests that were collected are judged."""
    for here, trials in grouped(evidence.gated, place).items():
        tests = {trial.test for trial in trials}
        judged = {trial.test for trial in latest(trials)}
        skipped = {trial.test for trial in trials if trial.skipped} - judged
        resolved = sum(t.verdict == "unknown" and evidence.answered(t) for t in trials)
        parts = [f"{len(judged)} of {len(tests)} tests gave a verdict"]
        parts += [f"{len(skipped)} skipped"] if skipped else []
        parts += [f"{resolved} gave one only when run again"] if resolved else []
        if judged:
            yield _row(here, "; ".join(parts), trials[0].build, good=True)


def _mixed(evidence: Evidence) -> Iterator[GateRow]:
    """Name runs that bear one name and are of several builds: they are not one Airflow's."""
    by_name = grouped(evidence.gated, lambda t: (t.build.label, t.environment.lab))
    for (label, lab), trials in by_name.items():
        names = (trial.record.build for trial in trials if trial.record)
        builds = Counter(name or "one not recorded" for name in names)
        if len(builds) > 1:
            parts = [f"{name} ({tests} tests)" for name, tests in builds.items()]
            detail = f"its runs are of {len(builds)} builds, {', '.join(parts)}. Gate each alone"
            yield _row(f"Airflow {label}, {lab}", detail, trials[0].build)


def _enough(build: Build, evidence: Evidence, wanted: Completeness) -> Iterator[GateRow]:
    """Tell whether a build met what every build must meet. A test run again counts once.

    So does one that a session repeats (`--count`).
    """
    trials = evidence.of(build)
    judged = latest(trials)
    name = f"Airflow {build.label}"
    total = sum(
        max(trial.record.task_instances for trial in again if trial.record)
        for again in grouped((t for t in judged if t.record), _bare).values()
    )
    enough = total >= wanted.task_instances
    detail = f"{total} task instances were judged, {wanted.task_instances} are wanted"
    hint = "" if enough else ". Run the whole suite: pytest suites/"
    yield _row(name, f"{detail}{hint}", build, good=enough)
    forced = {
        trial.record.known.scenario
        for trial in judged
        if trial.record and trial.record.known and trial.record.known.must_show
    }
    for scenario in wanted.scenarios:
        good = scenario in forced
        detail = "was forced" if good else _why_not_forced(scenario, trials)
        yield _row(f"scenario {scenario} on {name}", detail, build, good=good)
    labs = {trial.environment.lab for trial in judged}
    for lab in wanted.labs:
        hint = f"no test gave a verdict there: pytest suites/ --lab {lab}"
        detail = "was used" if lab in labs else hint
        yield _row(f"lab {lab} for {name}", detail, build, good=lab in labs)


def _bare(trial: Trial) -> tuple[str, str]:
    return place(trial), trial.name.bare


def _why_not_forced(scenario: str, trials: list[Trial]) -> str:
    ran = [t for t in trials if t.record and t.record.known and t.record.known.scenario == scenario]
    skipped = [t for t in trials if t.skipped and f"[{scenario}-" in t.test]
    if skipped:
        reason = skipped[-1].ended.reason if skipped[-1].ended else ""
        return f"it was skipped, which says nothing: {reason or 'no reason given'}"
    if ran:
        return "no run of it can tell. Run it again"
    return f"it was not run: pytest suites/ -k {scenario}"
