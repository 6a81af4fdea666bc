"""A test session that is ended by force, in the middle of a flood, leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lab.paths import labs_dir
from lab.reaper import reap

PROJECT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.xdist_group("labs")


def eventually(true: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()


def tree(pid: int) -> list[psutil.Process]:
    """Return a process' descendants that are alive, those with sessions of their own as well."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def still_there(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "sigkill"])
def test_an_ended_session_leaves_nothing(number: signal.Signals) -> None:
    before = set(labs_dir().iterdir())
    session = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "suites",
            "-k",
            "without_chaos",
            "-q",
            "--airflow",
            "3.0.6",
        ],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def floods() -> bool:
        return any("locust" in " ".join(p.cmdline()) for p in still_there(tree(session.pid)))

    assert eventually(floods, 120)
    processes = tree(session.pid)
    assert len(processes) >= 8
    os.kill(session.pid, number)
    session.wait(timeout=60)
    assert eventually(lambda: not still_there(processes), 40), still_there(processes)
    reap()
    assert set(labs_dir().iterdir()) <= before
