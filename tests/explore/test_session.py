"""An exploration in a test session leaves a verdict: what is new, what known, or too little."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from explore.coverage import Coverage
from explore.explorer import Explorer, LabLost, Totals
from explore.finds import Find
from explore.points import PODS
from explore.schedule import Deed, Verb
from harness import exploration
from harness.exploration import Exploration, powers, record_of, shows, too_few
from harness.markers import scenarios
from harness.outcome import Unknown
from lab.base import Airflow, Lab
from reports.records import Explored, ExploredFind, TestRecord
from tests.explore.test_schedule import SCHEDULE


@pytest.mark.parametrize(("rounds", "unknown"), [(1, 0), (2, 1), (10, 5)])
def test_half_of_the_rounds_are_enough(rounds: int, unknown: int) -> None:
    assert not too_few(rounds, unknown)


@pytest.mark.parametrize(
    ("rounds", "unknown", "said"),
    [
        (0, 0, "Explored too short: 0 of 0 .* give --explore more"),
        (3, 2, "Explored too short: 2 of 3 .* give --explore more"),
        (4, 3, "^3 of 4 explored rounds are unknown.$"),
    ],
)
def test_what_was_too_little_is_unknown(rounds: int, unknown: int, said: str) -> None:
    assert re.search(said, too_few(rounds, unknown))


@pytest.mark.parametrize(
    ("moves", "points", "more"),
    [
        ([], [], set()),
        (["pause", "resume", "clear"], [], set()),
        (["kill"], [], {"kill"}),
        (["silence", "tell"], [], {"kube-api"}),
        ([], [str(PODS[0])], {"kube-api"}),
    ],
)
def test_a_find_can_be_a_race_that_needs_what_its_round_had(
    moves: list[Verb], points: list[str], more: set[str]
) -> None:
    deeds = [*SCHEDULE.deeds, *(Deed(do, "scheduler-1", at=9) for do in moves)]
    found = replace(SCHEDULE, deeds=deeds, points=[*SCHEDULE.points, *points])
    assert powers(found) == {"hold", "pause"} | more


@pytest.mark.parametrize(
    ("witness", "scenario", "same"),
    [
        (
            "legal-transition: but scheduler-1 moved it SUCCESS -> QUEUED, ..",
            "queued-success",
            True,
        ),
        ("legal-transition: .. api-server moved it RUNNING -> NONE, ..", "clear-vs-start", False),
        ("legal-transition: but scheduler-1 moved it SUCCESS -> QUEUED, ..", "stuck-sweep", False),
        ("legal-transition: .. moved it RUNNING -> SCHEDULED, ..", "stuck-sweep", True),
        ("legal-transition: .. moved it RUNNING -> SCHEDULED, ..", "stale-trigger", False),
        ("legal-transition: .. moved it RUNNING -> SCHEDULED, ..", "active-runs", False),
        ("legal-transition: .. overwrites RUNNING or SUCCESS, but ..", "queued-success", False),
        ("no-crash: it ended\nsomething: SUCCESS -> QUEUED", "queued-success", False),
    ],
)
def test_a_find_is_known_by_what_it_broke_and_how(witness: str, scenario: str, same: bool) -> None:
    known = scenarios()[scenario]
    mark = Deed("mark", "serial", 4, "0", "task", "success")
    told = f"Airflow 3.3.2\n{witness}\n"
    found = replace(SCHEDULE, broken=["legal-transition"], witness=told)
    marked = replace(found, deeds=[*SCHEDULE.deeds, mark])
    assert shows(marked, known) is same
    alone = same and scenario != "queued-success"
    assert shows(found, known) is alone, "nobody marks anything in it"


def recorded(*finds: ExploredFind, rounds: int = 20, unknown: int = 0) -> TestRecord:
    airflow = Airflow("3.3.2", "3.3.2")
    lab = SimpleNamespace(airflow=airflow, kind="embedded", schedulers=["a", "b"], workers="")
    explored = Explored("run-a-loop", rounds, unknown, list(finds))
    return record_of(cast("Lab", lab), "t", 1, explored, too_few(rounds, unknown))


KNOWN = ExploredFind(3, ["max-active-runs", "queued-in-time"], "active-runs")
NEW = ExploredFind(7, ["unique-try"])


def test_one_that_found_nothing_is_valid_for_the_rounds_that_could_tell() -> None:
    record = recorded(unknown=4)
    assert (record.verdict, record.violations, record.new) == ("valid", {}, frozenset())
    assert record.explored is not None
    assert record.explored.judged == 16


def test_one_that_was_too_short_is_unknown_and_says_why() -> None:
    record = recorded(rounds=2, unknown=2)
    assert (record.verdict, record.reasons) == ("unknown", [too_few(2, 2)])


def test_a_known_race_is_told_by_its_name_with_all_that_came_of_it() -> None:
    record = recorded(KNOWN, KNOWN)
    assert record.verdict == "invalid"
    assert record.violations == {"max-active-runs": 2, "queued-in-time": 2}
    assert [race.scenario for race in record.showed] == ["active-runs"]
    assert record.new == frozenset()


def test_what_no_scenario_knows_is_new_beside_what_one_knows() -> None:
    record = recorded(KNOWN, NEW)
    assert record.new == {"unique-try"}
    assert [race.scenario for race in record.showed] == ["active-runs"]


class Cut:
    """An explorer that is cut short once it has found something."""

    def __init__(self, folder: Path, error: BaseException | None, *broken: str) -> None:
        self.folder, self.seed, self.error = folder, 1, error
        self.totals, self.coverage = Totals(rounds=20), Coverage()
        self.finds = [
            Find(
                folder / f"finds/{number}",
                replace(SCHEDULE, round=number, broken=[each], witness=f"{each}: .., but .."),
                1.0,
            )
            for number, each in enumerate(broken, 7)
        ]

    def warm(self) -> None:
        pass

    def explore(self, _over: object) -> None:
        if self.error is not None:
            raise self.error


def prepared(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Exploration:
    lab: Any = SimpleNamespace(
        airflow=Airflow("3.3.2", "3.3.2"), kind="embedded", schedulers=["a"], workers=""
    )
    monkeypatch.setattr(exploration, "remember", lambda _: None)
    monkeypatch.setattr(exploration, "remember_told", lambda _: None)
    monkeypatch.setattr(exploration, "recall", lambda _: SimpleNamespace(growth=[]))
    return Exploration(lab, "run-a-loop", 1, 60.0, lambda _: None, test="t", folder=folder)


@pytest.mark.parametrize("error", [LabLost("The lab does not recover.", ""), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("broken", "verdict"), [("max-active-runs", "invalid"), ("unique-try", "unknown")]
)
def test_what_was_found_before_it_was_cut_short_counts_if_it_is_known_and_is_named_if_not(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException,
    broken: str,
    verdict: str,
) -> None:
    explored = prepared(monkeypatch, tmp_path)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else Unknown):
        explored._explore(cast("Explorer", Cut(tmp_path, error, broken)))
    record = msgspec.json.decode((tmp_path / "verdict.json").read_bytes())
    assert record["verdict"] == verdict
    told = " ".join(record["reasons"])
    assert ("explore replay" in told) is (verdict == "unknown")


@pytest.mark.parametrize("error", [LabLost("The lab does not recover.", ""), KeyboardInterrupt()])
def test_what_was_found_counts_though_the_replay_of_a_new_one_was_cut_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise error

    explored = prepared(monkeypatch, tmp_path)
    monkeypatch.setattr(exploration, "replay", cut)
    explorer = Cut(tmp_path, None, "unique-try", "max-active-runs")
    stopped = isinstance(error, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt if stopped else Unknown) as raised:
        explored._explore(cast("Explorer", explorer))
    record = msgspec.json.decode((tmp_path / "verdict.json").read_bytes())
    assert record["verdict"] == "invalid"
    assert "max-active-runs" in record["violations"]
    assert stopped or "explore replay" in str(raised.value)


def test_a_find_that_was_not_seen_again_is_none() -> None:
    record = recorded(ExploredFind(7, ["unique-try"], again=False))
    assert (record.verdict, record.violations, record.new) == ("valid", {}, frozenset())


def test_a_race_counts_though_too_few_rounds_could_tell() -> None:
    assert recorded(KNOWN, rounds=20, unknown=19).verdict == "invalid"


def test_a_marked_run_is_known_by_the_permutation_that_marks_one_and_a_clear_by_its_own() -> None:
    queued, cleared = scenarios()["queued-success"], scenarios()["clear-vs-start"]
    run, task = (Deed(do, "serial", 4, "0", state="failed") for do in ("mark-run", "clear"))
    skipped = "legal-transition: .. moved it SKIPPED -> QUEUED, .."
    found = replace(SCHEDULE, broken=["legal-transition"], witness=skipped)
    assert shows(replace(found, deeds=[*found.deeds, run]), queued)
    assert not shows(replace(found, deeds=[*found.deeds, task]), queued)
    none = "legal-transition: .. api-server moved it RUNNING -> NONE, .."
    found = replace(found, witness=none)
    assert shows(replace(found, deeds=[*found.deeds, task]), cleared)
    assert not shows(replace(found, deeds=[*found.deeds, run]), cleared)


@pytest.mark.parametrize(
    ("promise", "scenario"), [("no-crash", "deleted-stuck"), ("run-ends-once", "paused-sweep")]
)
def test_what_takes_a_person_whom_no_round_has_is_none_of_its_finds(
    promise: str, scenario: str
) -> None:
    moves = [Deed(do, "serial", 4, "0", state="failed") for do in ("mark-run", "clear")]
    found = replace(SCHEDULE, broken=[promise], deeds=[*SCHEDULE.deeds, *moves])
    silent = replace(found, deeds=[*found.deeds, Deed("silence", "scheduler-1", 4)])
    assert not shows(silent, scenarios()[scenario])
