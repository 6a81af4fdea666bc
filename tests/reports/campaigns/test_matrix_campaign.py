"""A matrix asks what is not decided yet, keeps what is there, and mixes no two questions."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import UserError
from reports.campaigns import matrix as campaign
from reports.campaigns.sessions import Plan
from reports.store import Runs, read_runs
from tests.reports.matrix.told import keep, known, record, shown

SAFE = known(affected=False)
PLANNED = Plan(seed=7, scenarios=("57618",))


class Sessions:
    """Stands for pytest: writes the run folder of a session, by Airflow."""

    def __init__(self, *interrupted: str) -> None:
        self.asked: list[str] = []
        self._interrupted = interrupted

    def __call__(self, plan: Plan, airflow: str, into: Path) -> Runs:
        self.asked.append(airflow)
        if airflow in self._interrupted:
            raise KeyboardInterrupt
        if airflow == "3.1.1":
            raise UserError("pytest ran nothing.")
        of = shown(airflow=airflow, seed=plan.seed)
        if airflow >= "3.2":
            of = record(airflow=airflow, seed=plan.seed, race=SAFE)
        return read_runs([keep(into, len(self.asked), of)])


def places(folder: Path, *versions: str) -> dict[str, Path]:
    return {version: folder / version for version in versions}


def test_every_version_is_asked_once_and_a_failing_one_stops_no_other(tmp_path: Path) -> None:
    wanted = places(tmp_path, "3.0.6", "3.1.1", "3.3.2")
    ask = Sessions()
    campaign.run_all(PLANNED, wanted, ask, again=False)
    assert ask.asked == ["3.0.6", "3.1.1", "3.3.2"]
    again = Sessions()
    campaign.run_all(PLANNED, wanted, again, again=False)
    assert again.asked == ["3.1.1"]


def test_an_interrupted_matrix_goes_on_where_it_was(tmp_path: Path) -> None:
    wanted = places(tmp_path, "3.0.6", "3.1.8", "3.3.2")
    with pytest.raises(KeyboardInterrupt):
        campaign.run_all(PLANNED, wanted, Sessions("3.1.8"), again=False)
    ask = Sessions()
    campaign.run_all(PLANNED, wanted, ask, again=False)
    assert ask.asked == ["3.1.8", "3.3.2"]


def test_again_asks_all(tmp_path: Path) -> None:
    wanted = places(tmp_path, "3.0.6")
    for _ in range(2):
        ask = Sessions()
        campaign.run_all(PLANNED, wanted, ask, again=False)
    assert ask.asked == []
    more = Sessions()
    more.asked = ["counted"]
    campaign.run_all(PLANNED, wanted, more, again=True)
    assert more.asked[1:] == ["3.0.6"]


def test_a_session_that_was_killed_or_could_not_tell_decides_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "killed", 1, shown(), ended=None)
    keep(tmp_path / "lost", 1, shown(), collected=["a", "b"])
    keep(tmp_path / "unknown", 1, record("unknown"))
    keep(tmp_path / "whole", 1, shown())
    found = {name: campaign.decided(tmp_path / name) for name in ("killed", "lost", "unknown")}
    assert found == {"killed": False, "lost": False, "unknown": False}
    assert campaign.decided(tmp_path / "whole")
    assert not campaign.decided(tmp_path / "never")


def test_a_matrix_keeps_its_seed_and_refuses_another_question(tmp_path: Path) -> None:
    first = campaign.planned(tmp_path, PLANNED, seed_given=False)
    random_seed = replace(PLANNED, seed=99)
    assert campaign.planned(tmp_path, random_seed, seed_given=False) == first
    faster = replace(PLANNED, workers=8)
    assert campaign.planned(tmp_path, faster, seed_given=True) == faster
    with pytest.raises(UserError, match="seed 7, not 99"):
        campaign.planned(tmp_path, random_seed, seed_given=True)
    with pytest.raises(UserError, match="count 1, not 5"):
        campaign.planned(tmp_path, replace(PLANNED, count=5), seed_given=False)


def test_a_half_written_plan_is_told(tmp_path: Path) -> None:
    (tmp_path / campaign.PLAN_FILE).write_text('{"seed": 7, "scen')
    with pytest.raises(UserError, match="is not the plan"):
        campaign.planned(tmp_path, PLANNED, seed_given=False)
