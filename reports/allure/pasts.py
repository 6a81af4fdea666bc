"""What became of every test in every session, gathered from all that a session leaves.

Three sources tell of a test: session.json (it was to run, and how it ended), verdict.json (what
its history shows), and Allure's result (its steps and attachments). A test whose worker died has
only the first, and must not vanish for it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from reports.records import Ended, TestRecord, environment
from reports.store import RunFolder, Shelf

RESULTS = "allure-results"
_SESSION_LENGTH = len("20261122-114208")
_STATUSES = ("skipped", "passed", "broken", "failed")

Raw = dict[str, Any]
"""An Allure result as its JSON says it: <uuid>-result.json."""


@dataclass(frozen=True)
class Found:
    """One of Allure's results, and the folder that holds its attachments."""

    raw: Raw
    home: Path

    @property
    def test(self) -> str:
        """The id that pytest gave the test: its file, its classes, its name."""
        parts = [str(part) for part in self.raw.get("titlePath") or ()]
        file = next((i for i, part in enumerate(parts) if part.endswith(".py")), len(parts) - 1)
        path = "/".join(parts[: file + 1])
        return "::".join([path, *parts[file + 1 :], str(self.raw.get("name", ""))])


@dataclass(frozen=True)
class Attempt:
    """One test in one session; `name` is the same in every environment, `test` is pytest's id.

    `found`, `record` and `ended` are None where the session left none.
    """

    session: str
    started: str
    run: RunFolder
    airflow: str
    lab: str
    schedulers: int
    test: str
    found: Found | None
    record: TestRecord | None
    ended: Ended | None

    @property
    def environment(self) -> str:
        """Where it ran, in words."""
        return environment(self.airflow, self.lab, self.schedulers)

    @property
    def name(self) -> str:
        """Its name without its environment, which pytest's id holds."""
        labels = (self.run.path.name[_SESSION_LENGTH + 1 :], self.airflow)
        return without_environment(self.test, self.lab, labels)

    @property
    def key(self) -> tuple[str, str]:
        """What the attempts at one test in one environment have in common."""
        return self.environment, self.name

    @property
    def vanished(self) -> bool:
        """Whether it was to run, and nothing says how it ended."""
        collected = self.run.session is not None and self.test in self.run.session.collected
        return collected and self.ended is None and self.record is None

    @property
    def invalid(self) -> bool:
        """Whether it showed a violation."""
        return self.record is not None and self.record.verdict == "invalid"


@dataclass(frozen=True)
class Past:
    """All attempts at one test in one environment, the oldest first."""

    attempts: tuple[Attempt, ...]

    @property
    def newest(self) -> Attempt:
        """Return the attempt that stands for the present."""
        return self.attempts[-1]

    @property
    def washed(self) -> Attempt | None:
        """Return the latest violation that a later attempt did not show again, if there is one.

        It stays proven: the build is the same, and a race that was not met is still there.
        """
        if self.newest.invalid:
            return None
        return next((each for each in reversed(self.attempts) if each.invalid), None)


@dataclass
class Gathered:
    """All attempts by test and environment, and what could not be read, one line each."""

    pasts: list[Past] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def gather(shelf: Shelf) -> Gathered:
    """Gather the attempts of all sessions on a shelf."""
    gathered = Gathered()
    by_session: dict[str, list[RunFolder]] = defaultdict(list)
    for run in shelf.runs:
        by_session[session_of(run)].append(run)
    by_key: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for session in sorted(by_session, key=lambda name: _started(by_session[name][0])):
        for attempt in _attempts(session, by_session[session], gathered.problems):
            by_key[attempt.key].append(attempt)
    gathered.pasts = [Past(tuple(by_key[key])) for key in sorted(by_key)]
    return gathered


def session_of(run: RunFolder) -> str:
    """Return the session that a run folder is a part of; its name begins with it."""
    return run.session.session if run.session else run.path.name[:_SESSION_LENGTH]


def without_environment(test: str, lab: str, airflows: Iterable[str]) -> str:
    """Take lab and Airflow out of a test's id: `t[gated-kind-3.0.6-reset]` is `t[gated-reset]`."""
    head, bracket, rest = test.partition("[")
    if not bracket:
        return test
    inner = f"-{rest.removesuffix(']')}-"
    for airflow in airflows:
        if (where := f"-{lab}-{airflow}-") in inner:
            inner = inner.replace(where, "-", 1).strip("-")
            return f"{head}[{inner}]" if inner else head
    return test


def _started(run: RunFolder) -> str:
    """When a run began, in a form that sorts: ISO 8601, or as the folder's name says it."""
    if run.session:
        return run.session.started
    stamp = run.path.name
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"


def _attempts(session: str, runs: Sequence[RunFolder], problems: list[str]) -> Iterator[Attempt]:
    found = _worst_results(_results(runs, problems))
    for run in runs:
        yield from _of_run(session, run, found, others=[other for other in runs if other != run])


def _of_run(
    session: str, run: RunFolder, found: Mapping[str, Found], others: Sequence[RunFolder]
) -> Iterator[Attempt]:
    """Go through a run's tests: those it collected or judged, and whose results lie in it alone.

    The results of all Airflows of a session lie in one folder.
    """
    records = {record.test: record for record in run.tests}
    tests = dict.fromkeys([*_collected(run), *records])
    claimed = {test for other in others for test in (*_collected(other), *_judged(other))}
    here = (test for test, each in found.items() if each.home.parent == run.path)
    tests |= dict.fromkeys(test for test in here if test not in claimed)
    for test in tests:
        told = records.get(test) or run.session or next(iter(run.tests), None)
        if told is not None:
            yield Attempt(
                session=session,
                started=_started(run),
                run=run,
                airflow=told.airflow,
                lab=told.lab,
                schedulers=told.schedulers,
                test=test,
                found=found.get(test),
                record=records.get(test),
                ended=run.session.tests.get(test) if run.session else None,
            )


def _collected(run: RunFolder) -> Sequence[str]:
    return run.session.collected if run.session else ()


def _judged(run: RunFolder) -> Iterator[str]:
    return (record.test for record in run.tests)


def _worst_results(results: Iterable[Found]) -> dict[str, Found]:
    """Keep of each test in a session its worst result, and of those the last."""
    kept: dict[str, Found] = {}
    for each in results:
        before = kept.get(each.test)
        if before is None or _rank(each) >= _rank(before):
            kept[each.test] = each
    return kept


def _rank(found: Found) -> int:
    """Rank a result by its status; one that is not known is no good one."""
    status = found.raw.get("status")
    return _STATUSES.index(status) if status in _STATUSES else _STATUSES.index("broken")


def _results(runs: Sequence[RunFolder], problems: list[str]) -> list[Found]:
    """Read Allure's results of a session, each once, the oldest first."""
    found: dict[str, Found] = {}
    for path in (path for run in runs for path in (run.path / RESULTS).glob("*-result.json")):
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=Raw)
        except (OSError, msgspec.MsgspecError) as error:
            problems.append(f"{path} is no whole result of Allure's: {error}")
            continue
        found.setdefault(str(raw.get("uuid", path.name)), Found(raw, path.parent))
    return sorted(found.values(), key=lambda each: int(each.raw.get("start") or 0))
