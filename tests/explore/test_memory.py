"""An exploration goes on where it ended, also after its process was killed."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace

from common.errors import UserError
from explore import schedule as schedules
from explore.explorer import Drawn, Totals
from explore.memory import Memory, recall, remember, remember_told, resumed
from lab.base import Airflow, Lab
from tests.explore.test_schedule import SCHEDULE

FIRST = {
    "schema": 1, "rounds": 9, "steps": 90, "unknown": 2, "seconds": 50.0, "exploring": 40.0,
    "cpu": 1.5, "reasons": {"idle": 3}, "pairs": [["a", "b", "scheduler-scheduler", 3]],
    "orders": ["x"], "finds": {"4": ["unique-try"]}, "growth": [[9, 1]],
}  # fmt: skip


def test_nothing_is_remembered_at_first(tmp_path: Path) -> None:
    assert recall(tmp_path).totals == Totals()


def test_a_folder_of_the_first_version_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "exploration.json").write_bytes(msgspec.json.encode(FIRST))
    memory = recall(tmp_path)
    assert memory.totals == Totals(9, 90, 2, 1, 50.0, 40.0, 1.5, {"idle": 3})
    assert memory.coverage().pairs["a", "b", "scheduler-scheduler"] == 3
    assert (memory.finds, memory.growth) == ({"4": ["unique-try"]}, [(9, 1)])
    (tmp_path / "exploration.json").write_bytes(msgspec.json.encode(memory))
    assert recall(tmp_path) == memory


def test_a_folder_of_another_release_or_world_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exploration.json").write_bytes(
        msgspec.json.encode(Memory(of=["3.3.2", "AIRFLOW__X__Y=1"]))
    )
    lab = cast("Lab", SimpleNamespace(airflow=SimpleNamespace(version="3.4.0b2", build="")))
    with pytest.raises(UserError, match=r"of an exploration of 3\.3\.2 AIRFLOW__X__Y=1"):
        resumed(lab, tmp_path, Drawn(1), lambda _: None)


def test_coverage_is_what_it_was() -> None:
    memory = Memory(pairs=[("a", "b", "scheduler-scheduler", 3)], orders=["x"])
    coverage = memory.coverage()
    assert coverage.pairs["a", "b", "scheduler-scheduler"] == 3
    assert coverage.orders == {"x"}


@pytest.mark.parametrize("text", ["", "{", '{"schema": 99}', '{"rounds": "many"}', "[]"])
def test_a_bad_file_is_told_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "exploration.json").write_text(text)
    with pytest.raises(UserError, match="Remove it to begin anew") as told:
        recall(tmp_path)
    assert len(str(told.value).splitlines()) == 1


def kept(folder: Path, *rounds: int) -> None:
    """Leave finds as an exploration does that is killed before it tells of them."""
    for number in rounds:
        (folder / "finds" / f"{number}").mkdir(parents=True)
        found = replace(SCHEDULE, round=number, broken=["unique-try"])
        schedules.write(found, folder / "finds" / f"{number}" / "schedule.yaml")


def test_what_a_killed_session_kept_and_did_not_tell_is_found_by_the_next_one(
    tmp_path: Path,
) -> None:
    lab = cast("Lab", SimpleNamespace(airflow=Airflow("3.3.2", "3.3.2")))
    kept(tmp_path, 4)
    (tmp_path / "exploration.json").write_bytes(
        msgspec.json.encode(Memory(totals=Totals(rounds=9, finds=1), finds={"4": ["unique-try"]}))
    )
    assert resumed(lab, tmp_path, Drawn(1), lambda _: None).finds == [], "of an older file: told"

    kept(tmp_path, 12, 13)
    said: list[str] = []
    explorer = resumed(lab, tmp_path, Drawn(1), said.append)
    assert [find.schedule.round for find in explorer.finds] == [12, 13]
    assert (explorer.totals.finds, len(said)) == (3, 2)
    remember(explorer)  # a batch is over, and the session is killed
    assert len(resumed(lab, tmp_path, Drawn(1), said.append).finds) == 2
    assert recall(tmp_path).totals.finds == 3

    grown = recall(tmp_path).growth
    remember_told(explorer)
    assert recall(tmp_path).growth == grown
    again = resumed(lab, tmp_path, Drawn(1), said.append)
    assert (again.finds, again.totals.finds) == ([], 3)
