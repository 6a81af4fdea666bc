import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from common.errors import UserError
from common.files import write_whole
from lab.environments import store

BUILDER = """
import sys, time
from pathlib import Path
from lab.environments import store

def build(folder: Path) -> None:
    with Path({log!r}).open("a") as log:
        log.write("built\\n")
    (folder / "half").touch()
    time.sleep({seconds})
    (folder / "whole").touch()

store.made("some-key", build)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    return store.environments_dir()


def start_builder(log: Path, seconds: float) -> "subprocess.Popen[bytes]":
    code = BUILDER.format(log=str(log), seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for(pattern: str, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} came"
        time.sleep(0.02)


def whole(folder: Path) -> None:
    (folder / "whole").touch()


def test_what_is_made_is_not_made_again(cache: Path) -> None:
    assert store.made("some-key", whole) == cache / "some-key"
    assert store.made("some-key", lambda folder: pytest.fail(f"{folder} again")).is_dir()


def test_several_processes_make_it_once(cache: Path, tmp_path: Path) -> None:
    builders = [start_builder(tmp_path / "log", 0.5) for _ in range(4)]
    assert [builder.wait(120) for builder in builders] == [0, 0, 0, 0]
    assert (tmp_path / "log").read_text() == "built\n"
    assert (cache / "some-key/whole").exists()


def test_a_build_that_was_killed_is_made_again_and_leaves_nothing(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    builder = start_builder(tmp_path / "log", 60)
    wait_for(".build-some-key-*/half", cache)
    builder.send_signal(signal.SIGKILL)
    builder.wait(40)
    assert not (cache / "some-key").exists()

    with caplog.at_level(logging.INFO):
        store.made("some-newer", whole)
        store.made("some-key", whole)

    assert (cache / "some-key/whole").exists()
    assert not list(cache.glob(".build-*"))
    assert "unfinished build" in caplog.text


def test_a_build_that_is_interrupted_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    builder = start_builder(tmp_path / "log", 60)
    wait_for(".build-some-key-*/half", cache)
    builder.send_signal(signal.SIGINT)
    assert builder.wait(40) != 0
    assert not list(cache.glob("*some-key"))
    assert not list(cache.glob(".build-*"))


def test_a_build_that_fails_passes_its_error_on_and_is_tried_again(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise UserError("It does not start.", "Mend it.")

    with pytest.raises(UserError, match="It does not start"):
        store.made("some-key", fail)
    assert not list(cache.glob(".build-*"))
    assert (store.made("some-key", whole) / "whole").exists()


def test_too_little_disk_is_said_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "DISK_NEEDED", 2**60)
    with pytest.raises(UserError, match=r"GB free; an Airflow environment needs") as caught:
        store.made("some-key", whole)
    assert "HA_CHAOS_CACHE" in caught.value.hint
    assert store.folders() == []


def test_a_disk_that_fills_up_during_the_build_is_said(cache: Path) -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", folder)

    with pytest.raises(UserError, match="needs 2 GB"):
        store.made("some-key", fill)
    assert not list(cache.glob(".build-*"))


def test_a_source_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    def copy(folder: Path) -> None:
        shutil.copytree(gone, folder / "x")

    with pytest.raises(UserError, match=f"Could not make some-key: .*{gone}"):
        store.made("some-key", copy)


def test_the_wait_for_another_process_is_bounded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_LIMIT", 0.3)
    with (
        FileLock(cache / ".some.lock"),
        pytest.raises(UserError, match="Another process has been making some "),
    ):
        store.made("some-key", whole)


def test_what_nobody_used_for_long_goes_and_what_was_used_stays() -> None:
    long_ago = time.time() - store.KEEP_UNUSED - 60
    for key in ("unused", "used"):
        os.utime(store.made(key, whole), (long_ago, long_ago))
    store.made("used", whole)
    store.made("new", whole)
    assert [folder.name for folder in store.folders()] == ["new", "used"]


def test_a_file_is_written_whole_or_not_at_all(cache: Path) -> None:
    write_whole(cache / "3.9.9.txt", "a==1\n")
    assert (cache / "3.9.9.txt").read_text() == "a==1\n"
    with pytest.raises(UnicodeEncodeError):
        write_whole(cache / "3.9.9.txt", "a==2 \udcff\n")
    assert [path.name for path in cache.iterdir()] == ["3.9.9.txt"]
    assert (cache / "3.9.9.txt").read_text() == "a==1\n"
