"""A session that gets SIGTERM leaves what Ctrl-C leaves: verdicts, a summary, and no lab."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from reports.store import read_run
from tests.labs import eventually
from tests.oracle.telling import HISTORIES
from tests.system.projects import make_project
from tests.system.test_attempts import CONFTEST

AT_THE_END = '''
import time

from lab.pool import Pool

JUDGE = Run.end


def end(self, readers):
    """Take as long as a busy machine does."""
    time.sleep(float(os.environ["SLOW"]))
    return JUDGE(self, readers)


Run.end = end
TAKE_DOWN = Pool.close


def close(self):
    """Leave a mark: the labs were taken down."""
    TAKE_DOWN(self)
    Path("down").touch()


Pool.close = close
'''

SUITE = '''
"""What becomes of a flood that is told to end?"""

import time
from pathlib import Path


def test_one(history):
    """Flood, for longer than anybody waits."""
    Path("begun/one").touch()
    time.sleep(120)


def test_another(history):
    """Flood beside it."""
    Path("begun/another").touch()
    time.sleep(120)
'''


def begun(folder: Path, workers: int, slow: str) -> "subprocess.Popen[str]":
    """Start a session, in a process group of its own; return it once its tests are at work."""
    project = make_project(folder, SUITE, CONFTEST + AT_THE_END)
    (project / "begun").mkdir()
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", "-n", str(workers),
         "--airflow", "3.3.2"],
        cwd=project,
        env={**os.environ, "HISTORIES": str(HISTORIES / "unique-try"), "SLOW": slow},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    at_work = max(1, workers)
    eventually(
        lambda: session.poll() is not None or len([*(project / "begun").iterdir()]) == at_work, 120
    )
    assert session.poll() is None, session.communicate()[0]
    return session


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_a_session_that_is_terminated_is_judged_and_summed_up(
    tmp_path: Path, workers: int, how: str
) -> None:
    """`kill` tells the session alone; timeout(1) tells it, and at once its whole process group.

    xdist gives its workers 5 s before it interrupts them, and 10 s before it kills them.
    """
    session = begun(tmp_path / "project", workers, slow="6" if workers else "0")
    processes = psutil.Process(session.pid).children(recursive=True)
    os.kill(session.pid, signal.SIGTERM)
    if how == "timeout":
        os.killpg(session.pid, signal.SIGTERM)
    said, _ = session.communicate(timeout=360)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, said
    run = read_run(next((tmp_path / "project/reports/runs").glob("*-3.3.2")))
    assert [each.verdict for each in run.tests] == ["invalid"] * max(1, workers), said
    assert run.session is not None
    assert run.session.exit_status == pytest.ExitCode.INTERRUPTED
    assert "unique-try: A task instance is scheduled once a try" in said
    assert "report:   reports/runs/" in said
    assert (tmp_path / "project/down").exists()
    psutil.wait_procs(processes, timeout=80)
    assert not [each for each in processes if each.is_running()]


def test_ctrl_c_is_what_it_was(tmp_path: Path) -> None:
    session = begun(tmp_path / "project", 0, slow="0")
    os.kill(session.pid, signal.SIGINT)
    said, _ = session.communicate(timeout=360)
    assert session.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "unique-try: A task instance is scheduled once a try" in said
