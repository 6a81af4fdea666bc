"""The ground floor: files made once and written whole, waits that end, errors in one line."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import alone, last_exception, last_line, made_once, short, write_whole
from common.nearest import did_you_mean, nearest
from common.paths import PROJECT
from common.pipe import count, reporting
from common.waiting import Deadline, Every, until

MAKER = """
import sys, time
from pathlib import Path
from common.files import made_once

def make(building: Path) -> None:
    building.mkdir()
    with Path(sys.argv[2]).open("a") as log:
        log.write("made\\n")
    time.sleep(0.3)
    (building / "whole").touch()

print((made_once(Path(sys.argv[1]), make) / "whole").exists())
"""


def test_several_processes_make_a_thing_once(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", MAKER, str(tmp_path / "thing"), str(tmp_path / "log")]
    makers = [
        subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [maker.communicate(timeout=120)[0] for maker in makers] == ["True\n"] * 3
    assert (tmp_path / "log").read_text() == "made\n"


def test_what_a_maker_left_half_done_is_made_again(tmp_path: Path) -> None:
    def fail(building: Path) -> None:
        building.mkdir()
        raise UserError("It cannot be made.")

    (tmp_path / "thing.building").mkdir()
    with pytest.raises(UserError, match="cannot be made"):
        made_once(tmp_path / "thing", fail)
    assert {path.name for path in tmp_path.iterdir()} <= {"thing.lock"}
    assert made_once(tmp_path / "thing", Path.mkdir).is_dir()


def test_a_disk_without_room_for_it_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    def make(building: Path) -> None:
        shutil.copytree(tmp_path / "source", building, copy_function=_no_room)

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").touch()
    with pytest.raises(UserError, match=r"thing could not be made in .*: No space left") as caught:
        made_once(tmp_path / "thing", make)
    assert "disk" in caught.value.hint
    assert {path.name for path in tmp_path.iterdir()} == {"source", "thing.lock"}


def _no_room(*_: object) -> None:
    raise OSError("No space left on device")


def test_who_waits_too_long_for_another_is_told_what_it_does(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "lock", "making 3.0.6"),
        pytest.raises(UserError, match=r"Another process has been making 3\.0\.6 for 0 minutes"),
        alone(tmp_path / "lock", "making 3.0.6", limit=0.1),
    ):
        pytest.fail("two at once")


def test_a_socket_can_be_in_a_folder_that_is_longer_than_its_address(tmp_path: Path) -> None:
    deep = tmp_path / ("ä" * 60) / ("b" * 200)
    deep.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with short(deep / "control.sock") as name:
            server.bind(name)
        server.listen()
        assert (deep / "control.sock").is_socket()
        with short(deep / "control.sock") as name:
            client.connect(name)
        server.accept()[0].close()


def test_a_file_is_its_users_alone_where_that_is_asked(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a", "x", mode=0o600).stat().st_mode & 0o777 == 0o600
    assert write_whole(tmp_path / "a", b"y").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_an_exception_that_was_logged_since_then_is_returned(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ValueError: before\n")
    size = log.stat().st_size
    assert last_exception(log, size) == ""
    log.write_text("ValueError: before\nKeyError: since\nand on it goes\n")
    assert last_exception(log, size) == "KeyError: since"
    assert last_line("one\n two \n\n") == "two"
    assert last_line(" \n") == "it wrote nothing"


def test_a_wait_ends_when_it_is_so_or_when_the_time_is_up() -> None:
    answers = iter([0, 0, 7])
    assert until(lambda: next(answers), 5, interval=0.01) == 7
    begun = time.monotonic()
    assert until(list, 0.1, interval=0.02) == []
    assert 0.05 < time.monotonic() - begun < 2
    assert until(lambda: "at once", 0) == "at once"


def test_a_deadline_passes_and_what_is_due_is_due_once() -> None:
    deadline = Deadline(0.05)
    assert not deadline.passed
    assert 0 < deadline.left <= 0.05
    time.sleep(0.06)
    assert deadline.passed
    assert deadline.left == 0
    every = Every(60, at_once=True)
    assert [every.due(), every.due()] == [True, False]
    assert not Every(60).due()


def test_a_command_reports_what_its_user_can_mend_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @reporting
    def main(number: int) -> int:
        if number < 0:
            raise UserError("That is too small.", "Give 0 or more.")
        return number

    assert main(0) == 0
    assert main(-1) == 2
    assert capsys.readouterr().err == "error: That is too small. Give 0 or more.\n"


def test_a_count_is_one_or_more() -> None:
    assert count("3") == 3
    with pytest.raises(Exception, match="at least 1"):
        count("0")


def test_who_writes_a_word_that_there_is_not_is_asked_for_the_nearest() -> None:
    """By default a slip or two; what is as near as that to none is not guessed."""
    there = ["scheduler", "scheduler-2", "triggerer"]
    assert nearest("schedler", there) == "scheduler"
    assert nearest("schedler", dict.fromkeys(there), like=0.99) == ""
    assert nearest("zzz", there) == nearest("scheduler", []) == ""
    assert did_you_mean("triggerr", there, otherwise="No.") == "Did you mean triggerer?"
    assert did_you_mean("zzz", there, otherwise="There are others.") == "There are others."
    assert did_you_mean("zzz", there) == ""


def test_the_nearest_word_is_looked_for_in_one_place() -> None:
    listed = subprocess.check_output(
        ["git", "grep", "-l", "get_close_matches", "--", "*.py"], cwd=PROJECT, text=True
    )
    assert set(listed.split()) == {"common/nearest.py", "tests/unit/test_common.py"}
