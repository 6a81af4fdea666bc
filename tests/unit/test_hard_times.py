"""What the machine lacks is told in one line that says what to do."""

import os
import shutil
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import labs_dir, session_dir
from lab.base import Airflow
from lab.embedded import postgres
from lab.ending import reap
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec, write_request
from tests.labs import owned_by


def test_a_platform_without_a_postgres_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(postgres, "find_spec", nowhere)
    with pytest.raises(UserError, match="no PostgreSQL here") as caught:
        postgres.binaries()
    assert "make setup" in caught.value.hint


def test_a_full_disk_is_told_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=10_000_000))
    airflow = Airflow("3.0.6", "3.0.6", Path("/nowhere/python"))
    with pytest.raises(UserError, match="less than 500 MB free") as caught:
        start(LabSpec(airflow), owner=None)
    assert "HA_CHAOS_CACHE" in caught.value.hint
    assert list((tmp_path / "labs").iterdir()) == []


def test_an_interpreter_that_does_not_run_is_told_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    me = Owner.me()
    before = owned_by(me.pid)
    airflow = Airflow("mine", "3.0.6", tmp_path / "no-python", key="none")
    with pytest.raises(UserError, match="no-python"):
        start(LabSpec(airflow), owner=(me.pid, me.born))
    assert owned_by(me.pid) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs PostgreSQL as itself")
def test_a_cache_that_postgres_cannot_reach_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    monkeypatch.setenv("HA_CHAOS_CACHE", str(closed))
    with pytest.raises(UserError, match="cannot pass") as caught:
        postgres.binaries()
    assert "HA_CHAOS_CACHE" in caught.value.hint


def test_the_folder_of_a_killed_session_goes_and_that_of_a_live_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    me = Owner.me()
    mine, dead = session_dir(me.pid, me.born), session_dir(me.pid, me.born - 3600)
    for folder in (mine, dead):
        folder.mkdir(parents=True)
    reap()
    assert mine.exists()
    assert not dead.exists()


def test_a_lab_whose_owner_was_killed_before_it_began_is_removed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    me = Owner.me()
    owners = {"gone": (me.pid, me.born - 5000.0), "beginning": (me.pid, me.born), "kept": None}
    for name, owner in owners.items():
        (labs_dir() / name).mkdir()
        write_request(labs_dir() / name, LabSpec(Airflow("3.0.6", "3.0.6")), owner)
    for name, age in (("empty", 0.0), ("empty for long", 601.0)):
        (labs_dir() / name).mkdir()
        os.utime(labs_dir() / name, (time.time() - age,) * 2)
    assert reap() == 0
    assert sorted(path.name for path in labs_dir().iterdir()) == ["beginning", "empty", "kept"]
