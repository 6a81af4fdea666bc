"""A paused process stands still, and goes on when the fault is healed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import cast

import psutil
import pytest

from chaos.scheduler_pause import SchedulerPause
from common.errors import UserError
from lab.base import Lab
from tests.lab.proxied import eventually


class OneProcess:
    """The part of a lab that freezes one real process."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process

    def process(self, role: str) -> str:
        return role

    def pause(self, process: str) -> None:
        assert process == "scheduler-1"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self, process: str) -> None:
        assert process == "scheduler-1"
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(argv) as started:
        try:
            yield psutil.Process(started.pid)
        finally:
            started.kill()


def test_freezes_its_process_and_lets_it_go_on(process: psutil.Process) -> None:
    told: list[tuple[str, ...]] = []
    lab = cast(Lab, OneProcess(process))
    with SchedulerPause("scheduler-1").on(lab, lambda *event: told.append(event)):
        assert eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    assert eventually(lambda: process.status() != psutil.STATUS_STOPPED)
    assert told == [
        ("begin", "scheduler-pause", "scheduler-1", "frozen"),
        ("end", "scheduler-pause", "scheduler-1", ""),
    ]


def test_lasts_its_seconds_unless_an_error_ends_it(process: psutil.Process) -> None:
    told: list[tuple[str, ...]] = []
    lab = cast(Lab, OneProcess(process))
    fault = SchedulerPause("scheduler-1", seconds=0.5).on(lab, lambda *event: told.append(event))
    begun = time.monotonic()
    with fault:
        assert told[-1][-1] == "frozen for 0.5 s or more"
    assert time.monotonic() - begun >= 0.5
    begun = time.monotonic()
    patient = SchedulerPause("scheduler-1", seconds=60).on(lab)
    with pytest.raises(ZeroDivisionError), patient:
        raise ZeroDivisionError
    assert time.monotonic() - begun < 30
    assert eventually(lambda: process.status() != psutil.STATUS_STOPPED)


def test_seconds_below_zero_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="A fault cannot last -1 s"):
        SchedulerPause("scheduler-1", seconds=-1)


def test_may_be_healed_twice_and_by_hand(process: psutil.Process) -> None:
    with SchedulerPause("scheduler-1").on(cast(Lab, OneProcess(process))) as fault:
        fault.end()
        assert eventually(lambda: process.status() != psutil.STATUS_STOPPED)
        fault.end()
    assert process.is_running()
