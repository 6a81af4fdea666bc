"""What a session leaves on disk, as typed records: written by the harness, read by every report.

A run folder is one Airflow's part of a session:

    <time>-<airflow>/session.json            what was collected, and what became of each test
    <time>-<airflow>/tests/<test>/verdict.json   one test's judgement
    <time>-<airflow>/tests/<test>/...            its history, witness, metrics, logs, timeline
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from common.paths import PROJECT
from lab.environments.settings import option_of

SCENARIOS = PROJECT / "suites" / "scenarios"

SCHEMA = 1
"""The version of these records; a reader refuses any other, and says so."""

Outcome = Literal["passed", "failed", "broken", "skipped", "xfailed", "crashed"]
"""How pytest saw a test end: `broken` is an unknown verdict or an error of ours, `crashed` a test
whose xdist worker died with it."""


_WORSE: tuple[Outcome, ...] = ("passed", "skipped", "xfailed", "broken", "failed", "crashed")

Verdict = Literal["valid", "invalid", "unknown"]

GRAVITY: tuple[Verdict, ...] = ("invalid", "unknown", "valid")
"""The verdicts, the worst first."""

_ISSUE = re.compile(r"https://github\.com/([^/]+/[^/]+)/(?:issues|pull)/(\d+)$")
_REPETITION = re.compile(r"(?:^|-)(\d+-\d+)$")
_STAMP = re.compile(r"^\d{8}-\d{6}-")


@dataclass(frozen=True)
class TestName:
    """What a test is called wherever it runs: its pytest id without Airflow and lab.

    suites/test_duplicate_tries.py::test_held[57618-fan-out-embedded-3.0.6-2-5]
        function test_held, parameters 57618-fan-out; repetition 2-5 (pytest-repeat: 2 of 5)
    """

    __test__ = False

    path: str
    function: str
    parameters: str
    repetition: str = ""

    @property
    def bare(self) -> str:
        """The function and its parameters: the same in every repetition."""
        return f"{self.function}[{self.parameters}]" if self.parameters else self.function

    @property
    def short(self) -> str:
        """The name without its file."""
        inside = "-".join(filter(None, (self.parameters, self.repetition)))
        return f"{self.function}[{inside}]" if inside else self.function

    @property
    def full(self) -> str:
        """The name with its file."""
        return f"{self.path}::{self.short}"


def name_of(test: str, lab: str, airflows: Collection[str]) -> TestName:
    """Take the environment out of a pytest id; it may call the Airflow by any of `airflows`."""
    path, _, name = test.rpartition("::")
    function, _, inside = name.partition("[")
    inside = inside.removesuffix("]")
    names = sorted(filter(None, airflows), key=len, reverse=True)
    for airflow in [*map(re.escape, names), r"[^-]+"]:
        if found := re.search(rf"(?:^|(?<=-)){re.escape(lab)}-{airflow}(?:-|$)", inside):
            inside = (inside[: found.start()] + inside[found.end() :]).strip("-")
            break
    repetition = _REPETITION.search(inside)
    parameters = _REPETITION.sub("", inside)
    return TestName(path, function, parameters, repetition[1] if repetition else "")


def folder_airflow(folder: Path) -> str:
    """Return the Airflow that a run folder is named after: `<date>-<time>-<airflow>`."""
    return _STAMP.sub("", folder.name)


class Assumption(msgspec.Struct, frozen=True):
    """Something that a verdict rests on, and whether it happened."""

    name: str
    met: bool
    value: str = ""
    wanted: str = ""


def issue_link(issue: str) -> tuple[str, str] | None:
    """Return an issue's URL, and how people write it: apache/airflow#57618; None for no URL.

    A remark may follow it.
    """
    url = issue.partition(" ")[0]
    if found := _ISSUE.match(url):
        return url, f"{found[1]}#{found[2]}"
    return (url, url) if url.startswith("https://") else None


def scenario_names() -> list[str]:
    """Return the names of the suites' scenarios: of the races that tests can force."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


class Known(msgspec.Struct, frozen=True):
    """The known race that a test meets.

    `affected`: this release is known to have it. `must_show`: the test forces it, so an affected
    release that stays clean is news; where false, the test only makes it likelier. `breaks`: the
    invariants that it breaks, `follows`: those that may break in its wake; None in records older
    than it, and the reader then fills in what the scenario says now. `issue` is a URL, or the
    reason why there is none.
    """

    scenario: str
    title: str
    issue: str
    affected: bool
    must_show: bool
    by_design: bool
    breaks: list[str]
    follows: list[str] | None = None

    @property
    def explains(self) -> frozenset[str]:
        """The invariants that say nothing new where the race showed itself."""
        return frozenset([*self.breaks, *(self.follows or ())])

    @property
    def link(self) -> tuple[str, str] | None:
        """The issue's URL, and how people write it; None where it was never filed."""
        return issue_link(self.issue)

    @property
    def url(self) -> str:
        """The issue's URL; empty where it was never filed."""
        return self.link[0] if self.link else ""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Where something ran, and with which seed."""

    airflow: str
    lab: str
    schedulers: int
    seed: int

    @property
    def environment(self) -> str:
        """Where it ran, in words: the same in every report."""
        return environment(self.airflow, self.lab, self.schedulers)


class Judged(Placed, frozen=True, kw_only=True):
    """What a verdict says, of one test or of all tests of a run folder."""

    version: str
    verdict: Verdict
    violations: dict[str, int] = {}
    runs: int = 0
    task_instances: int = 0
    pods: int = 0
    refused_starts: int = 0
    double_executions: int = 0
    duplicate_pods: int = 0
    duplicate_tries: int = 0
    time_to_first_violation: float | None = None
    assumptions: list[Assumption] = []


class ExploredFind(msgspec.Struct, frozen=True):
    """A round of an exploration that broke promises; `race` is the known one, empty for a new one.

    `again` is false for a new one that did not show itself when it was replayed: it does not count.
    """

    round: int
    broken: list[str]
    race: str = ""
    again: bool = True


class Explored(msgspec.Struct, frozen=True):
    """What an exploration did in its session, and what all its sessions covered together.

    `rounds`, of which `unknown` could not be judged, and `finds` are this session's. `total` rounds
    passed `pairs` distinct pairs of statements and `orders` distinct orders; `growth` has (rounds,
    pairs) after each session. `seconds` are those of all sessions.
    """

    world: str
    rounds: int
    unknown: int
    finds: list[ExploredFind] = []
    total: int = 0
    seconds: float = 0.0
    pairs: int = 0
    orders: int = 0
    growth: list[tuple[int, int]] = []

    @property
    def judged(self) -> int:
        """How many rounds of the session say something."""
        return max(0, self.rounds - self.unknown)

    @property
    def new(self) -> frozenset[str]:
        """The invariants that broke in rounds which no known race explains."""
        found = (find.broken for find in self.finds if not find.race and find.again)
        return frozenset(name for broken in found for name in broken)

    def shows(self, race: str) -> list[ExploredFind]:
        """Return the rounds that showed a known race, in their order."""
        return [find for find in self.finds if find.race == race]


class TestRecord(Judged, frozen=True, kw_only=True):
    """One test's `verdict.json`; its `folder` is filled in by the reader.

    An exploration has no one race that it is about: `races` are the known ones that it found.
    `conditions` are its session's, filled in by the reader too.

    `build` is a digest of the code that was tested, on which evidence may be added up: a label such
    as 3.0.6 says what was asked for. It is empty in records older than it. `packages` are the
    versions of Airflow's parts, SQLAlchemy and the database drivers, `drivers` those that were
    used, the synchronous one first.
    """

    __test__ = False  # no test class, whatever pytest takes its name for

    schema: int
    test: str
    reasons: list[str] = []
    judged: dict[str, int] = {}
    not_judged: dict[str, str] = {}
    not_covered: list[str] = []
    decisions: dict[str, dict[str, int]] = {}
    workers: str = ""
    boot: dict[str, float] = {}
    known: Known | None = None
    races: list[Known] = []
    explored: Explored | None = None
    expect_known: bool = False
    build: str = ""
    packages: dict[str, str] = {}
    drivers: list[str] = []
    folder: str = ""
    conditions: str = ""

    @property
    def broken(self) -> frozenset[str]:
        """The invariants that the run violated."""
        return frozenset(name for name, number in self.violations.items() if number)

    @property
    def violations_text(self) -> str:
        """The broken invariants by name, and how often each was."""
        return ", ".join(f"{name} {count}" for name, count in self.violations.items() if count)

    @property
    def shown(self) -> Known | None:
        """The known race that its test is about, if the run showed it."""
        if self.verdict == "invalid" and self.known and self.broken & set(self.known.breaks):
            return self.known
        return None

    @property
    def showed(self) -> tuple[Known, ...]:
        """The known races that showed themselves on a release that has them."""
        found = [*self.races, *([self.shown] if self.shown else [])]
        return tuple(race for race in found if race.affected)

    @property
    def cause(self) -> Known | None:
        """The known race that is told of first where the run broke a promise."""
        return self.shown or next(iter(self.races), None)

    @property
    def new(self) -> frozenset[str]:
        """The broken invariants that no known race of this release explains."""
        if self.explored:
            return self.explored.new
        return self.broken.difference(*(race.explains for race in self.showed))

    @property
    def name(self) -> TestName:
        """What the test is called wherever it runs."""
        run = Path(self.folder).parent.parent
        return name_of(self.test, self.lab, {folder_airflow(run), self.airflow, self.version})

    @property
    def informative(self) -> bool:
        """Whether the run says anything of its known race: it showed it, or was valid.

        A run that broke another promise may have ended before the race could show.
        """
        return self.verdict == "valid" or self.shown is not None


class Ended(msgspec.Struct, frozen=True):
    """How one test ended; `reason` is a line for what did not pass. `seconds` without the lease.

    Of a test that ran more than once in its session, its worst end.
    """

    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""

    @property
    def red(self) -> bool:
        """Whether a session in which a test ended so may not be called good."""
        return self.outcome in ("broken", "failed", "crashed")


def worst_end(*ends: Ended) -> Ended:
    """Return the worst of several ends; of equal ones the first."""
    return max(ends, key=lambda end: _WORSE.index(end.outcome))


class SessionRecord(Placed, frozen=True, kw_only=True):
    """One Airflow's part of a session: `session.json`, written before the first test and after
    every one, so that a session that was killed says what it left undone.

    `session` is the same in the run folders of all Airflows of one session. `started`, `ended`
    are UTC, ISO 8601; `ended` is None while it runs, or when it was killed. `collected` are the
    ids of the tests that were to run, `tests` those that ended. `notes` say what became of the
    user's own Helm values, `settings` are the variables that `--set` gave every lab,
    `dags` the user's own that were flooded instead of ours.
    """

    schema: int
    session: str
    started: str
    expect_known: bool = False
    chart: str = ""
    notes: list[str] = []
    settings: dict[str, str] = {}
    dags: list[str] = []
    ended: str | None = None
    exit_status: int | None = None
    collected: list[str] = []
    tests: dict[str, Ended] = {}

    @property
    def conditions(self) -> str:
        """What its user chose for all tests, and results depend on: chart, DAGs, settings."""
        parts = [f"chart {self.chart}"] if self.chart else []
        parts += [f"DAGs {' '.join(self.dags)}"] if self.dags else []
        parts += [f"{option_of(name)}={value}" for name, value in sorted(self.settings.items())]
        return ", ".join(parts)


def environment(airflow: str, lab: str, schedulers: int) -> str:
    """Name an environment for people."""
    return f"Airflow {airflow}, {lab}, {schedulers} schedulers"


class RunVerdict(Judged, frozen=True, kw_only=True):
    """A run folder's own `verdict.json`: its worst test, and the sums over all of them.

    For people and for scripts of theirs; our reports read the tests' records.
    """

    decisions: dict[str, int]
    deciding_test: str
    tests: list[TestRecord]
