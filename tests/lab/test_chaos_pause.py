"""A paused process stands still, and goes on when the fault is healed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import psutil
import pytest

from chaos.pause import SchedulerPause
from lab.base import Lab
from tests.lab.proxied import eventually


class OneProcess:
    """The part of a lab that freezes one real process."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process

    def pause(self, process: str) -> None:
        assert process == "scheduler-1"
        self.process.send_signal(signal.SIGSTOP)

    def resume(self, process: str) -> None:
        assert process == "scheduler-1"
        self.process.send_signal(signal.SIGCONT)


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
    with SchedulerPause(lab, "scheduler-1", record=lambda *event: told.append(event)):
        assert eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    assert eventually(lambda: process.status() != psutil.STATUS_STOPPED)
    assert told == [
        ("begin", "scheduler-pause", "scheduler-1", "frozen"),
        ("end", "scheduler-pause", "scheduler-1", ""),
    ]


def test_may_be_healed_twice_and_by_hand(process: psutil.Process) -> None:
    with SchedulerPause(cast(Lab, OneProcess(process)), "scheduler-1") as fault:
        fault.end()
        assert eventually(lambda: process.status() != psutil.STATUS_STOPPED)
        fault.end()
    assert process.is_running()
