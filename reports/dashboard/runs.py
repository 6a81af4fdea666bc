"""What a page says of one run: its tests with their verdicts, witnesses, pictures and logs."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.redaction import redact
from common.secret_forms import LONGEST
from reports.dashboard.pictures import Drawing
from reports.matrix.cells import variant
from reports.records import TestRecord
from reports.store import RunFolder
from reports.trials import trials_of

_QUIET = ("xfailed", "passed", "skipped")
"""Ends that a test without a verdict may come to; what ended otherwise comes first."""

WITNESS = "witness.txt"
WITNESS_LIMIT = 8000
"""Characters; a witness is a screen of text, and what is longer is no witness of ours."""


@dataclass(frozen=True)
class Log:
    """A log that a test left, by its name within the test's folder."""

    name: str
    size: int


@dataclass(frozen=True)
class TestView:
    """One test on the page of its run.

    `others` are the folders and verdicts of its other attempts in the session; `outcome` is how it
    ended, where that is bad though its verdict is valid.
    """

    record: TestRecord
    anchor: str
    question: str
    witness: str
    logs: tuple[Log, ...]
    drawing: Drawing | None
    others: tuple[tuple[str, str], ...] = ()
    outcome: str = ""

    @property
    def name(self) -> str:
        """The test's id without its file."""
        return self.record.test.rpartition("::")[2]

    @property
    def timeline(self) -> str:
        """Where the timeline is, from the run's page; empty where there is none."""
        return f"{self.anchor}/timeline.html" if self.drawing and self.drawing.timeline else ""


@dataclass(frozen=True)
class Unjudged:
    """A test that ended, or should have, without a verdict of its own."""

    test: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class RunView:
    """One run folder; `place` is the folder of its page, from the site's root."""

    run: RunFolder
    place: str
    tests: tuple[TestView, ...]

    @property
    def page(self) -> str:
        """Its page, from the site's root."""
        return f"{self.place}/index.html"

    @property
    def environment(self) -> str:
        """Where it ran, in words."""
        if self.run.session:
            return self.run.session.environment
        return self.tests[0].record.environment if self.tests else self.run.path.name

    @property
    def started(self) -> str:
        """When it began, in UTC."""
        return self.run.started or "unknown"

    @cached_property
    def verdicts(self) -> Mapping[str, int]:
        """How many tests ended with each verdict."""
        found = Counter(view.record.verdict for view in self.tests)
        return {verdict: found[verdict] for verdict in ("invalid", "unknown", "valid")}

    @cached_property
    def unjudged(self) -> tuple[Unjudged, ...]:
        """The tests that left no verdict: skipped, crashed, or never come to."""
        trials = [*trials_of(self.run)]
        ended = [(t.test, t.ended) for t in trials if t.ended and not t.record]
        missing = [t.test for t in trials if t.never_ended]
        return (
            *(Unjudged(test, end.outcome, end.reason) for test, end in ended),
            *(Unjudged(test, "missing", "collected, and never ended") for test in missing),
        )

    @property
    def troubled(self) -> tuple[Unjudged, ...]:
        """The tests without a verdict that ended as none should."""
        return tuple(test for test in self.unjudged if test.outcome not in _QUIET)

    @property
    def quiet(self) -> tuple[Unjudged, ...]:
        """The tests without a verdict that need none."""
        return tuple(test for test in self.unjudged if test.outcome in _QUIET)

    @property
    def alarming(self) -> tuple[TestView, ...]:
        """The tests to look at: those with a violation first, then those that cannot tell."""
        found = [test for test in self.tests if test.record.verdict != "valid" or test.outcome]
        return tuple(sorted(found, key=lambda test: test.record.verdict != "invalid"))

    @property
    def sound(self) -> tuple[TestView, ...]:
        """The tests that kept every promise, and ended as they should."""
        alarming = self.alarming
        return tuple(test for test in self.tests if test not in alarming)


def views(
    runs: Sequence[RunFolder], places: Mapping[Path, str], drawings: Mapping[str, Drawing]
) -> list[RunView]:
    """Make the views of all runs, the newest first."""
    return [
        RunView(run, places[run.path], tuple(_view(test, drawings, run) for test in run.tests))
        for run in reversed(runs)
    ]


def name_places(runs: Iterable[RunFolder]) -> dict[Path, str]:
    """Give each run a folder of its own in the site; runs of one name are told apart."""
    places: dict[Path, str] = {}
    taken: Counter[str] = Counter()
    for run in runs:
        name = _safe(run.path.name)
        taken[name] += 1
        places[run.path] = f"runs/{name}" + (f"~{taken[name]}" if taken[name] > 1 else "")
    return places


def anchor(test: TestRecord) -> str:
    """Name a test's folder in the site, and its place on its run's page."""
    return _safe(Path(test.folder).name)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "_"


def _view(test: TestRecord, drawings: Mapping[str, Drawing], run: RunFolder) -> TestView:
    folder = Path(test.folder)
    end = run.session.tests.get(test.test) if run.session else None
    others = (other for other in run.others if other.test == test.test)
    return TestView(
        record=test,
        anchor=anchor(test),
        question=variant(test.name, {test.known.scenario} if test.known else set()).name,
        witness=_witness(test),
        logs=tuple(_logs(folder)),
        drawing=drawings.get(test.folder),
        others=tuple((Path(other.folder).name, other.verdict) for other in others),
        outcome=end.outcome if end and end.red and test.verdict == "valid" else "",
    )


def _witness(test: TestRecord) -> str:
    """Read the witness of a test that broke a promise; empty where there is none."""
    path = Path(test.folder) / WITNESS
    if not test.broken or not path.exists():
        return ""
    with path.open(errors="replace") as file:
        return redact(file.read(WITNESS_LIMIT + LONGEST))[:WITNESS_LIMIT]  # no cut in a secret


def _logs(folder: Path) -> Iterable[Log]:
    for path in sorted(folder.rglob("*.log")):
        if path.is_file():
            yield Log(path.relative_to(folder).as_posix(), path.stat().st_size)
