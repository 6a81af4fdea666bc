"""A flood that is to give an answer lasts until it has one, and no longer.

Locust and the lab are stood in for by what the harness sees of them: task instances that end.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.flood import Floods, enough
from load.flood import Flood
from load.plan import Asked
from load.profiles import Profile, profile
from load.report import FloodReport
from reports.statistics import Sequential
from run.run import Run


@dataclass
class History:
    """What Floods sees of a run."""

    ended: set[int] = field(default_factory=set)
    scheduled: set[int] = field(default_factory=set)
    violated: threading.Event = field(default_factory=threading.Event)
    assumptions: dict[str, tuple[bool, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    seed: int = 1
    folder: Path = Path()
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        api = SimpleNamespace(base_url="http://127.0.0.1:1")
        self.lab = SimpleNamespace(pace=1.0, api=api, schedulers=("scheduler-1",), logs=dict)
        self.decisions = Counter({"scheduler-1": 1})

    def note(self, text: str) -> None:
        self.notes.append(text)

    def assume(self, name: str, met: bool, value: object, wanted: object) -> None:
        self.assumptions[name] = met, f"{value} {wanted}"

    def look_for_faults(self) -> None:
        pass


class Busy:
    """A flood of which ten task instances end each time somebody looks; it goes on or is over."""

    def __init__(self, history: History, asked: Asked, limit: int, violates_at: int) -> None:
        self.history = history
        self.asked = asked
        self.limit = limit
        self.violates_at = violates_at

    def __enter__(self) -> "Busy":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def running(self) -> bool:
        count = len(self.history.ended)
        for number in range(count, min(self.limit, count + 10)):
            self.history.ended.add(number)
            self.history.scheduled.add(number)
        if len(self.history.ended) >= self.violates_at:
            self.history.violated.set()
        return len(self.history.ended) < self.limit

    def stop(self) -> FloodReport:
        runs = min(self.asked.runs, len(self.history.ended) // 10)
        return FloodReport(asked=self.asked, triggered=runs, finished=runs // 2, runs_per_second=9)


@dataclass(frozen=True)
class Prepared(Profile):
    """A profile whose flood is a stand-in."""

    history: History = field(default_factory=History)
    limit: int = 10_000
    violates_at: int = 100_000

    def flood(self, _url: str, _folder: Path, _seed: int, limit: float, *_: Any) -> Flood:  # type: ignore[override]
        self.history.limits.append(limit)
        asked = Asked(
            dag_ids=("single",), runs=self.runs, rate=1.0, users=0, seed=1, run_prefix="x"
        )
        return cast(Flood, Busy(self.history, asked, self.limit, self.violates_at))


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.flood.time.sleep", lambda _: None)
    monkeypatch.setattr("harness.flood._LAG", 0.0)


def flooded(until: Sequential | None, runs: int = 1000, **prepared: Any) -> History:
    history = History()
    profile = Prepared("p", "", "single", runs=runs, rate=1.0, history=history, **prepared)
    Floods(cast(Run, history), profile, until=until).run()
    return history


@pytest.mark.usefixtures("_at_once")
def test_it_ends_when_the_answer_is_clear_and_asks_for_no_more_load() -> None:
    history = flooded(Sequential(0.01, 0.95))
    assert len(history.ended) == 300
    assert all(met for met, _ in history.assumptions.values()), history.assumptions
    assert history.assumptions["answer-clear"][1].startswith("300 >= 299")
    assert history.assumptions["task-instances-reached"][1] == "300 >= 299"
    (note,) = history.notes
    assert note.endswith("0 of 300: at most 1.0 % at 95 %")


@pytest.mark.usefixtures("_at_once")
def test_an_answer_that_is_not_clear_is_no_answer() -> None:
    history = flooded(Sequential(0.01, 0.95), limit=200)
    met, told = history.assumptions["answer-clear"]
    assert not met
    assert told == "200 >= 299, to rule out 1.0 % at 95 %"
    assert not history.assumptions["load-reached"][0]


@pytest.mark.usefixtures("_at_once")
def test_a_violation_ends_it_before() -> None:
    history = flooded(Sequential(0.01, 0.95), violates_at=50)
    assert len(history.ended) < 299
    # Where the stored history does not have that violation, the flood was too short.
    assert [*history.assumptions] == ["load-reached"]
    met, told = history.assumptions["load-reached"]
    assert not met
    assert told == "stopped at the first violation the whole flood"


@pytest.mark.usefixtures("_at_once")
def test_nobody_asked_nothing_changes() -> None:
    history = flooded(None, limit=400)
    assert len(history.ended) == 400
    assert "answer-clear" not in history.assumptions
    assert not history.assumptions["load-reached"][0]


@pytest.mark.usefixtures("_at_once")
def test_what_ended_before_the_test_acted_says_nothing() -> None:
    history = History()
    profile = Prepared("p", "", "single", runs=1000, rate=1.0, history=history)
    floods = Floods(cast(Run, history), profile, until=Sequential(0.01, 0.95))
    with floods.running():
        before = len(history.ended)
        assert before > 0
        floods.go_on(0.0)
    assert len(history.ended) >= before + 299
    assert history.assumptions["answer-clear"][0]


@pytest.mark.parametrize("needed", [299, 2995])
def test_a_profile_too_small_for_an_answer_gets_more_runs(needed: int) -> None:
    issue = profile("issue")
    larger = enough(issue, needed, seed=3)
    assert 1.1 * needed <= larger.task_instances(3) < 1.1 * needed + 47
    assert larger.rate == issue.rate
    assert enough(issue, 100, seed=3) is issue


@pytest.mark.usefixtures("_at_once")
def test_a_flood_of_more_runs_than_its_profile_has_may_take_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert flooded(None, limit=400).limits == [300.0]
    monkeypatch.setattr("harness.flood.PROFILES", {"p": Profile("p", "", "single", 100, 1.0)})
    assert flooded(None, limit=400).limits == [3000.0]
    assert flooded(None, limit=400, runs=10).limits == [300.0]
