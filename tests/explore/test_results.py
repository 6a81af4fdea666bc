"""Earlier results stay until there are new ones, and nothing of a person's is removed."""

from pathlib import Path

import pytest

from common.errors import UserError
from explore.results import beside, writable


def earlier(tmp_path: Path, name: str = "finds") -> Path:
    there = tmp_path / "replays" / name
    there.mkdir(parents=True)
    return there


def test_earlier_results_stay_where_there_are_no_new_ones(tmp_path: Path) -> None:
    there = earlier(tmp_path)
    with pytest.raises(KeyError), beside(tmp_path / "schedule.yaml", "replays", "finds"):
        raise KeyError
    assert there.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["replays"]


def test_new_results_take_their_place_also_after_an_interrupt(tmp_path: Path) -> None:
    there = earlier(tmp_path) / "old"
    there.touch()
    earlier(tmp_path, "batch-0")

    def work() -> None:
        with beside(tmp_path / "schedule.yaml", "replays", "finds") as folder:
            assert there.exists()
            (folder / "finds").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (tmp_path / "replays" / "finds").exists()
    assert not there.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["replays"]


def test_a_folder_of_a_person_is_not_touched(tmp_path: Path) -> None:
    there = earlier(tmp_path, "notes")
    with (
        pytest.raises(UserError, match="is in the way"),
        beside(tmp_path / "schedule.yaml", "replays", "finds"),
    ):
        pass
    assert there.exists()


def test_a_folder_that_is_of_no_use_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made") as told:
        writable(tmp_path / "file" / "folder")
    assert len(str(told.value).splitlines()) == 1
