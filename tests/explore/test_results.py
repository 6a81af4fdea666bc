"""Earlier results stay until there are new ones, and nothing of a person's is removed."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from explore.results import alone, beside, writable

HELD = """
import sys, time
from pathlib import Path
from explore.results import alone
with alone(Path(sys.argv[1])):
    print("alone", flush=True)
    time.sleep(600)
"""


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


def test_a_second_session_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HELD, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "alone\n"
        refused = pytest.raises(UserError, match="Another process explores into")
        with refused as told, alone(tmp_path):
            pass
        first.kill()
    assert len(str(told.value).splitlines()) == 1
    with alone(tmp_path):
        assert not list(tmp_path.iterdir()), "it leaves no file"


def test_results_beside_a_file_are_made_by_one_alone(tmp_path: Path) -> None:
    file = tmp_path / "schedule.yaml"
    with beside(file, "replays", "finds") as folder:
        (folder / "finds").mkdir()
        with pytest.raises(UserError, match="Another process"), beside(file, "replays", "finds"):
            pass
    assert (tmp_path / "replays" / "finds").exists()


def test_what_a_killed_one_left_is_no_result_of_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".shrunk.new"
    left.mkdir()
    (left / "schedule.yaml").write_text("of before")
    with beside(tmp_path / "schedule.yaml", "shrunk", "schedule.yaml") as folder:
        assert list(folder.iterdir()) == []
    assert not (tmp_path / "shrunk").exists()
