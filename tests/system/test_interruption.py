"""A test session that is ended by force, in the middle of a flood, leaves nothing running."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from common.paths import RUNS_VARIABLE
from lab.ending import reap
from tests.labs import at_night, eventually, owned_by

PROJECT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.xdist_group("labs-3")


def tree(pid: int) -> list[psutil.Process]:
    """Return a process' descendants that are alive, those with sessions of their own as well."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def still_there(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if lives(process)]


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def command(process: psutil.Process) -> str:
    """Return a process' command line; of one that ends meanwhile none."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="ctrl-c", marks=at_night),
        pytest.param(signal.SIGKILL, id="sigkill"),
    ],
)
def test_an_ended_session_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
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
        env={**os.environ, RUNS_VARIABLE: str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def floods() -> bool:
        return any("locust" in command(each) for each in still_there(tree(session.pid)))

    assert eventually(floods, 300)
    processes = tree(session.pid)
    assert len(processes) >= 8
    os.kill(session.pid, number)
    session.wait(timeout=240)
    assert eventually(lambda: not still_there(processes), 40), still_there(processes)
    reap()
    assert not owned_by(session.pid)
