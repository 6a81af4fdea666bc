"""All trials of every test in every environment, each with Allure's own result of it.

Allure's plugin leaves a result a test, with its steps and attachments. Those of all Airflows of a
session lie in one folder, and a test that its session neither collected nor judged has only that.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from oracle.old_names import present_test
from reports.grouping import grouped
from reports.store import RunFolder, Runs
from reports.trials import Trial, trials_of

RESULTS = "allure-results"
UNKNOWN = "unknown"
"""Allure's word for a result that does not say how its test ended."""

RANKS = ("skipped", "passed", UNKNOWN, "broken", "failed")
"""Allure's statuses, the worst last."""

Raw = dict[str, Any]
"""An Allure result as its JSON says it: <uuid>-result.json."""


@dataclass(frozen=True)
class AllureResult:
    """One of Allure's results, and its file; its attachments lie beside that."""

    raw: Raw
    path: Path

    @property
    def test(self) -> str:
        """The id that pytest gave the test: its file, its classes, its name."""
        parts = [str(part) for part in self.raw.get("titlePath") or ()]
        file = next((i for i, part in enumerate(parts) if part.endswith(".py")), len(parts) - 1)
        path = "/".join(parts[: file + 1])
        return present_test("::".join([path, *parts[file + 1 :], str(self.raw.get("name", ""))]))

    @property
    def status(self) -> str:
        """How its test ended, in Allure's words."""
        status = self.raw.get("status")
        return status if status in RANKS else UNKNOWN


@dataclass(frozen=True, kw_only=True)
class ReportedTrial(Trial):
    """A trial with Allure's result of it, None where it left none."""

    result: AllureResult | None

    @property
    def raw(self) -> Raw:
        """What Allure's plugin wrote of it; empty where it left no result."""
        return self.result.raw if self.result else {}

    @property
    def key(self) -> tuple[str, str]:
        """What the trials of one test in one environment have in common."""
        return self.environment.name, self.name.full

    @property
    def vanished(self) -> bool:
        """Whether it was to run, and nothing says how it ended."""
        return self.never_ended and self.record is None


@dataclass(frozen=True)
class Past:
    """All trials of one test in one environment, the oldest first."""

    trials: tuple[ReportedTrial, ...]

    @property
    def newest(self) -> ReportedTrial:
        """Return the trial that stands for the present."""
        return self.trials[-1]

    @property
    def older_violation(self) -> ReportedTrial | None:
        """Return the latest violation that a later trial did not show again, if there is one.

        It stays proven: the build is the same, and a race that was not met is still there.
        """
        if self.newest.verdict == "invalid":
            return None
        return next((each for each in reversed(self.trials) if each.verdict == "invalid"), None)


@dataclass
class Gathered:
    """All trials by test and environment, and what could not be read, one line each."""

    pasts: list[Past]
    problems: list[str]


def gather(runs: Runs, home: Path | None = None) -> Gathered:
    """Gather the trials of all sessions; `home` has their results if their run folders do not."""
    problems: list[str] = []
    trials: list[ReportedTrial] = []
    by_session = grouped(runs.folders, lambda run: run.session_name)
    for folders in sorted(by_session.values(), key=lambda folders: folders[0].started):
        homes = [home] if home else [run.path / RESULTS for run in folders]
        trials += _trials(folders, homes, problems)
    by_key = grouped(trials, lambda trial: trial.key)
    return Gathered([Past(tuple(by_key[key])) for key in sorted(by_key)], problems)


def _trials(
    folders: Sequence[RunFolder], homes: Sequence[Path], problems: list[str]
) -> Iterator[ReportedTrial]:
    """Go through a session's trials; of each test, its worst result counts, and of those the last.

    A test that no run folder lists belongs to the one that its result lies in.
    """
    results = {
        test: max(reversed(found), key=lambda result: RANKS.index(result.status))
        for test, found in grouped(_results(homes, problems), lambda each: each.test).items()
    }
    listed = {trial.test for run in folders for trial in trials_of(run)}
    for run in folders:
        here = [
            t for t, r in results.items() if r.path.parent.parent == run.path and t not in listed
        ]
        for trial in trials_of(run, here):
            yield ReportedTrial(**vars(trial), result=results.get(trial.test))


def _results(homes: Iterable[Path], problems: list[str]) -> list[AllureResult]:
    """Read Allure's results of a session, each once, the oldest first."""
    found: dict[str, AllureResult] = {}
    for path in (path for home in homes for path in home.glob("*-result.json")):
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=Raw)
        except (OSError, msgspec.MsgspecError) as error:
            problems.append(f"{path} is not a whole result of Allure's: {error}")
            continue
        found.setdefault(str(raw.get("uuid", path.name)), AllureResult(raw, path))
    return sorted(found.values(), key=lambda each: int(each.raw.get("start") or 0))
