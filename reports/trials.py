"""What became of every test in every session: asked here once, for every report.

Two records of a run folder say it: session.json (the test was to run, and how it ended) and
verdict.json (what its history shows). A test whose worker died has only the first, and must not
vanish for it. The gate, the matrix, the dashboard and the Allure report filter these trials.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from packaging.version import InvalidVersion, Version

from reports.records import Ended, TestName, TestRecord, environment, folder_airflow, name_of
from reports.store import RunFolder

NO_VERSION = Version("0.dev0")
"""Sorts what is not a version before all that are."""


@dataclass(frozen=True)
class Build:
    """One Airflow as it was tested: `label` is what its user named it, `version` its own word."""

    label: str
    version: str

    def called(self, name: str) -> bool:
        """Tell whether it goes by this name; a build of somebody's own is no release."""
        return name == self.label or (self.published and name == self.version)

    @property
    def published(self) -> bool:
        """Whether it is a release as it was published, and no wheel or checkout of somebody's."""
        version = parsed(self.version)
        return version is not None and parsed(self.label) == version

    @property
    def age(self) -> tuple[Version, str]:
        """What builds are ordered by: the release, then the label."""
        return parsed(self.version) or NO_VERSION, self.label


@dataclass(frozen=True)
class Environment:
    """Where a test ran; two codes under one label, as their digests tell, are two of them."""

    build: Build
    lab: str
    schedulers: int
    digest: str = ""

    @property
    def name(self) -> str:
        """Its name, the same in every report."""
        return environment(self.build.label, self.lab, self.schedulers)

    @property
    def age(self) -> tuple[tuple[Version, str], str, int, str]:
        """What environments are ordered by: the release, then the rest."""
        return self.build.age, self.lab, self.schedulers, self.digest


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One test in one session: what it was, how it ended, what it recorded.

    `test` is pytest's id; `ended` and `record` are None where the session left none. Trials are
    numbered from the oldest run on.
    """

    number: int
    run: RunFolder
    test: str
    environment: Environment
    expect_known: bool
    ended: Ended | None
    record: TestRecord | None

    @property
    def build(self) -> Build:
        """The Airflow that was tested."""
        return self.environment.build

    @property
    def name(self) -> TestName:
        """What the test is called wherever it runs."""
        session = self.run.session
        airflows = {folder_airflow(self.run.path), self.build.label, self.build.version}
        labels = airflows | ({session.airflow} if session else set())
        return name_of(self.test, self.environment.lab, labels)

    @property
    def id(self) -> str:
        """Pytest's id without its file."""
        return self.test.rpartition("::")[2]

    @property
    def skipped(self) -> bool:
        """Whether it did not run at all."""
        return self.ended is not None and self.ended.outcome == "skipped"

    @property
    def stray(self) -> bool:
        """Whether its session had not collected it."""
        session = self.run.session
        return session is not None and self.test not in session.collected

    @property
    def never_ended(self) -> bool:
        """Whether it was collected, and nothing was heard of it again."""
        return self.ended is None and not self.stray and self.run.session is not None

    @property
    def verdict(self) -> Literal["valid", "invalid", "skipped", "unknown"]:
        """What it proves. A violation is proof however the test ended."""
        if self.record is not None and self.record.verdict == "invalid":
            return "invalid"
        if self.skipped:
            return "skipped"
        return "unknown" if self.trouble else "valid"

    @property
    def conclusive(self) -> bool:
        """Whether it ran, and proves something."""
        return self.verdict in ("valid", "invalid")

    @property
    def trouble(self) -> str:
        """Why it proves nothing; empty where it does, or where it was skipped."""
        return "" if self.skipped else self._end_trouble or self._verdict_trouble

    @property
    def _end_trouble(self) -> str:
        if self.stray:
            return "it was not collected in this session: two may have shared the folder"
        if self.never_ended:
            return "it was collected and never ended"
        if self.ended and self.ended.outcome == "crashed":
            return f"its worker process died with it{self._reason}"
        return ""

    @property
    def _verdict_trouble(self) -> str:
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


def all_trials(folders: Iterable[RunFolder]) -> list[Trial]:
    """Return the trials of all run folders, numbered in their order."""
    found = (trial for run in folders for trial in trials_of(run))
    return [replace(trial, number=number) for number, trial in enumerate(found)]


def trials_of(run: RunFolder, others: Sequence[str] = ()) -> Iterator[Trial]:
    """Go through the tests that a run collected, ended or judged, and `others` that ran in it."""
    session, records = run.session, {record.test: record for record in run.tests}
    listed = [*session.collected, *session.tests] if session else []
    for test in dict.fromkeys([*listed, *records, *others]):
        record = records.get(test)
        said = record or session or next(iter(run.tests), None)
        if said is not None:
            build, digest = _tested(run, record)
            yield Trial(
                number=0,
                run=run,
                test=test,
                environment=Environment(build, said.lab, said.schedulers, digest),
                expect_known=said.expect_known,
                ended=session.tests.get(test) if session else None,
                record=record,
            )


def _tested(run: RunFolder, record: TestRecord | None) -> tuple[Build, str]:
    """Return what was tested: records know it better than the command line that named it."""
    for known in (record, *run.tests):
        if known is not None:
            return Build(known.airflow, known.version), known.build
    label = run.session.airflow if run.session else ""
    version = parsed(label)
    return Build(label, str(version) if version else ""), ""


def parsed(text: str) -> Version | None:
    """Read a version; None where it is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None
