"""How many labs there may be follows what processors may be used, and whether they are."""

import os
import time
from pathlib import Path

import psutil
import pytest

from lab import room
from lab.room import Processors, Room


def group(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def of_version_2(folder: Path, quota: str, usage: int = 0) -> Path:
    return group(folder, cpu__max=quota, cpu__stat=f"usage_usec {usage}\nuser_usec 1\n")


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def test_a_quota_of_two_processors_on_a_machine_of_64_is_two(tmp_path: Path) -> None:
    assert Processors.ours([of_version_2(tmp_path, "200000 100000")]).count == 2


def test_no_quota_leaves_what_the_affinity_allows(tmp_path: Path) -> None:
    assert Processors.ours([of_version_2(tmp_path, "max 100000")]).count == 64
    assert Processors.ours([]).count == 64


def test_a_quota_of_version_1(tmp_path: Path) -> None:
    quota = group(tmp_path, cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    assert Processors.ours([quota]).count == 1.5
    quota = group(tmp_path, cpu__cfs_quota_us="-1\n")
    assert Processors.ours([quota]).count == 64


def test_the_narrowest_group_counts(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    found = Processors.ours([of_version_2(inner, "max 1"), of_version_2(outer, "300000 100000")])
    assert (found.count, found.group) == (3, outer)


def test_a_quota_s_group_says_how_busy_it_is(tmp_path: Path) -> None:
    assert Processors(2, of_version_2(tmp_path, "200000 100000", 3_500_000)).busy() == 3.5


def test_a_group_of_version_1_says_how_busy_it_is(tmp_path: Path) -> None:
    group(tmp_path, cpu__stat="nr_periods 4\nthrottled_time 0\n", cpuacct__usage="2500000000\n")
    assert Processors(2, tmp_path).busy() == 2.5


@pytest.mark.parametrize("labs", [(64.0, 100e9, 66), (2.0, 100e9, 4), (0.5, 1e9, 1), (2.0, 4e9, 2)])
def test_two_labs_a_processor_at_most_and_no_more_than_memory_holds(
    monkeypatch: pytest.MonkeyPatch, labs: tuple[float, float, int]
) -> None:
    count, free, most = labs
    monkeypatch.setattr(Processors, "ours", lambda: Processors(count))
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: type("Memory", (), {"available": int(free)})
    )
    assert room.most() == most


class Clocked:
    """Processors whose work is told, at a time that is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, busy: bool = False) -> None:
        self.now, self.worked = 100.0, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(Processors, "busy", lambda _: self.worked)
        self.room = Room(Processors(2), busy=busy)

    def after(self, seconds: float, worked: float) -> bool:
        self.now += seconds
        self.worked += worked
        return self.room.found()


def test_there_is_room_once_processors_have_been_idle_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocked = Clocked(monkeypatch)
    assert not clocked.after(0, 0), "nothing was measured yet"
    assert not clocked.after(0.5, 0), "too short to tell"
    assert clocked.after(2, 2.5)


def test_there_is_no_room_while_they_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clocked = Clocked(monkeypatch)
    clocked.after(0, 0)
    assert not clocked.after(2, 3), "half a processor is left"
    assert clocked.after(2, 0), "only the latest counts"


def test_what_was_measured_while_a_lab_booted_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocked = Clocked(monkeypatch)
    clocked.after(0, 0)
    clocked.room.disturb()
    assert not clocked.after(5, 0)
    assert clocked.after(5, 0)


def test_a_busy_test_wants_most_of_the_processors_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocked = Clocked(monkeypatch, busy=True)
    clocked.after(0, 0)
    assert not clocked.after(2, 2), "one of two is at work"
    assert clocked.after(2, 1)
