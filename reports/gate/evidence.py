"""What there is to decide by: every test in every run, and what can be told of it by now."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from packaging.version import InvalidVersion, Version

from reports.gate.policy import Policy
from reports.records import Ended, TestRecord, environment
from reports.store import RunFolder, Shelf

Told = Literal["valid", "invalid", "skipped"]


@dataclass(frozen=True)
class Build:
    """One Airflow as it was tested: `label` is what its user named it, `version` its own word."""

    label: str
    version: str

    def called(self, name: str) -> bool:
        """Tell whether it goes by this name."""
        return name in (self.label, self.version)

    @property
    def published(self) -> bool:
        """Whether it is a release as it was published, and no wheel or checkout of somebody's."""
        version = parsed(self.version)
        return version is not None and parsed(self.label) == version

    @property
    def age(self) -> tuple[Version, str]:
        """Sort by release; what is no version comes first."""
        return parsed(self.version) or Version("0.dev0"), self.label


@dataclass(frozen=True)
class Trial:
    """One test in one run; `ended` and `record` are what the run left of it, if anything.

    Trials are numbered from the oldest run on.
    `reference`: it is the suite's own check, on a release that the policy names known-bad.
    """

    number: int
    run: RunFolder
    test: str
    build: Build
    environment: str
    lab: str
    ended: Ended | None
    record: TestRecord | None
    reference: bool

    @property
    def skipped(self) -> bool:
        """Whether it did not run at all."""
        return self.ended is not None and self.ended.outcome == "skipped"

    @property
    def name(self) -> str:
        """Return the test's name without its file."""
        return self.test.rpartition("::")[2]

    @property
    def told(self) -> Told | None:
        """Return what it tells, if anything. A violation is proof however the test ended."""
        if self.record is not None and self.record.verdict == "invalid":
            return "invalid"
        if self.skipped:
            return "skipped"
        return None if self.trouble else "valid"

    @property
    def never_ended(self) -> bool:
        """Whether it was collected, and nothing was heard of it again."""
        return self.ended is None and not self._stray and self.run.session is not None

    @property
    def _stray(self) -> bool:
        session = self.run.session
        return session is not None and self.test not in session.collected

    @property
    def trouble(self) -> str:
        """Say why it cannot tell; empty where it can, or where it was skipped."""
        return "" if self.skipped else self._no_end or self._no_verdict

    @property
    def _no_end(self) -> str:
        """Say what is wrong with how it ended."""
        if self._stray:
            return "it was not collected in this session: two may have shared the folder"
        if self.never_ended:
            return "it was collected and never ended"
        if self.ended and self.ended.outcome == "crashed":
            return f"its worker process died with it{self._reason}"
        return ""

    @property
    def _no_verdict(self) -> str:
        """Say what is wrong with its verdict."""
        outcome = self.ended.outcome if self.ended else "passed"
        if self.record is None:
            return f"it ended {outcome} and left no verdict.json{self._reason}"
        if self.record.verdict == "unknown":
            return f"the verdict is unknown: {'; '.join(self.record.reasons) or 'no reason given'}"
        if self.record.verdict == "valid" and outcome in ("failed", "broken"):
            return f"it is {outcome} although its verdict is valid{self._reason}"
        return ""

    @property
    def _reason(self) -> str:
        return f": {self.ended.reason}" if self.ended and self.ended.reason else ""

    @property
    def where(self) -> str:
        """Return its folder, short: the run's, and its own below it."""
        folder = self.record.folder.rpartition("/")[2] if self.record else ""
        return f"{self.run.path.name}/tests/{folder}" if folder else self.run.path.name


Question = tuple[str, str]
"""An environment and a test: what a later run can answer anew."""


@dataclass(frozen=True)
class Evidence:
    """All trials, the oldest first, and which builds are to be gated.

    `answers` has the number of the last trial of each question that could tell.
    """

    shelf: Shelf
    trials: tuple[Trial, ...]
    builds: tuple[Build, ...]
    answers: dict[Question, int] = field(default_factory=dict)

    def gated(self) -> Iterator[Trial]:
        """Go through what the gated builds are judged by."""
        return (t for t in self.trials if not t.reference and t.build in self.builds)

    def of(self, build: Build) -> list[Trial]:
        """Return the trials that a gated build is judged by."""
        return [trial for trial in self.gated() if trial.build == build]

    def answered(self, trial: Trial) -> bool:
        """Tell whether the trial tells, or a later run of the same test in its environment."""
        last = self.answers.get((trial.environment, trial.test), -1)
        return trial.told is not None or last > trial.number

    def latest(self, trials: Iterable[Trial]) -> list[Trial]:
        """Keep of each test and environment the last trial that ran and can tell."""
        telling = {(t.environment, t.test): t for t in trials if t.told in ("valid", "invalid")}
        return list(telling.values())


def gather(shelf: Shelf, policy: Policy, airflow: Iterable[str] = ()) -> Evidence:
    """Lay out what the runs left; `airflow` names the builds to be gated, none names all."""
    number = count()
    trials = tuple(trial for run in shelf.runs for trial in _trials(run, policy, number))
    wanted = tuple(airflow)
    builds = {
        trial.build
        for trial in trials
        if not trial.reference and (not wanted or any(map(trial.build.called, wanted)))
    }
    answers = {
        (trial.environment, trial.test): trial.number
        for trial in trials
        if trial.told in ("valid", "invalid")
    }
    return Evidence(shelf, trials, tuple(sorted(builds, key=lambda b: b.age)), answers)


def _trials(run: RunFolder, policy: Policy, numbers: Iterator[int]) -> Iterator[Trial]:
    records = {record.test: record for record in run.tests}
    session = run.session
    collected = [*session.collected, *session.tests] if session else []
    of_run = _build_of(run)
    chart = f", chart {session.chart}" if session and session.chart else ""
    for test in dict.fromkeys([*collected, *records]):
        record = records.get(test)
        # Without a session, only tests with a record are known of.
        told = record or session
        assert told is not None
        build = Build(record.airflow, record.version) if record else of_run
        yield Trial(
            number=next(numbers),
            run=run,
            test=test,
            build=build,
            environment=environment(build.label, told.lab, told.schedulers) + chart,
            lab=told.lab,
            ended=session.tests.get(test) if session else None,
            record=record,
            reference=told.expect_known and policy.oracle_health.names(build.version),
        )


def _build_of(run: RunFolder) -> Build:
    """Return a run's Airflow: its records know it better than the command line it was named in."""
    for record in run.tests:
        return Build(record.airflow, record.version)
    label = run.session.airflow if run.session else ""
    version = parsed(label)
    return Build(label, str(version) if version else "")


def parsed(text: str) -> Version | None:
    """Read a version; None where it is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def grouped(
    trials: Iterable[Trial], key: Callable[[Trial], Question]
) -> dict[Question, list[Trial]]:
    """Group trials, in the order in which each group began."""
    groups: dict[Question, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(key(trial), []).append(trial)
    return groups
