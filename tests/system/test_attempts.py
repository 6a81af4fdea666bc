"""A test that is run again in its session keeps its worst end, and what every attempt left."""

import importlib.util
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reports.records import Ended, SessionRecord
from reports.store import RunFolder, read_run
from tests.labs import at_night
from tests.oracle.telling import HISTORIES
from tests.system.projects import allure_report, make_project, run_project

CONFTEST = '''
import os
import shutil
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from _pytest.runner import runtestprotocol
from harness import plugin, preflight
from lab.base import Airflow
from oracle.events import AssumptionEvent
from oracle.history import read
from oracle.verdict import Judge


class Run:
    """Stands where a run would be: its first attempt has a violation, the later ones none."""

    def __init__(self, lab, folder, name, seed, trims, asked):
        self.lab, self.folder, self.seed = lab, folder, seed
        self.violated = threading.Event()
        self.unmet = []
        self.recorder = None

    def begin(self):
        """Attempts have folders of their own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        first = self.folder.name.endswith("-3.3.2")
        kind = os.environ.get("FIRST", "invalid") if first else "valid"
        told = next(Path(os.environ["HISTORIES"]).glob(f"{kind}-*.ndjson"))
        shutil.copy(told, self.folder / "history.ndjson")
        self.recorder = SimpleNamespace(header=read(self.folder / "history.ndjson")[0])
        if kind == "invalid":
            self.violated.set()

    def assume(self, name, met, value, wanted):
        """Remember what was not met."""
        self.unmet.append(AssumptionEvent(0.0, name, met, str(value), str(wanted)))

    def end(self, readers):
        """Judge the history, and what was assumed of it."""
        header, events = read(self.folder / "history.ndjson")
        judge = Judge(header)
        *told, end = events
        for event in (*told, *self.unmet, end):
            judge.feed(event)
        return judge.conclude()

    def abandon(self):
        """Nobody looks on here."""


plugin.Run = Run
preflight.wanted_lab = preflight.check_settings = lambda *_: None


@pytest.fixture
def lab(request):
    """Stand where the lab would be."""
    about = Airflow("3.3.2", "3.3.2")
    return SimpleNamespace(
        airflow=about, kind="embedded", schedulers=("a", "b"), workers="", boot={}
    )


def pytest_addoption(parser):
    """Let a test ask for another attempt, or for a time limit, as plugins do."""
    parser.addoption("--again", choices=["told", "silent"])
    parser.addoption("--limit", choices=["signal", "thread"])


def fail(*_):
    """Fail whatever runs."""
    pytest.fail("Timeout (>3.0s)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """End a test after three seconds: from within, or with the whole process."""
    how = item.config.getoption("limit")
    timer = threading.Timer(3.0, os._exit, (1,))
    if how == "signal":
        signal.signal(signal.SIGALRM, fail)
        signal.setitimer(signal.ITIMER_REAL, 3.0)
    elif how == "thread":
        timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)


def pytest_runtest_protocol(item, nextitem):
    """Run what failed once more: pytest hears of the first attempt as a `rerun`, or not at all."""
    if not (how := item.config.getoption("again")):
        return None
    for last in (False, True):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        again = not last and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            if not again or how == "told":
                item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if not again:
            break
    return True


def pytest_report_teststatus(report):
    """Name it as such plugins do."""
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
'''

SUITE = '''
"""Is a session as bad as its worst attempt?"""

import os
import signal
import time

import pytest


def test_judged(history):
    """Be judged."""
    if os.environ.get("HANG"):
        time.sleep(30)
    if os.environ.get("STOP"):
        raise KeyboardInterrupt


def test_dies(history):
    """Die in the first attempt, as by the kernel's out-of-memory killer."""
    if os.environ.get("DIE") and history.folder.name.endswith("-3.3.2"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_next(lab):
    """Come after, and take a while."""
    time.sleep(0.2)
'''

AGAIN = {
    "told": ("--again", "told"),
    "silent": ("--again", "silent"),
    "pytest_rerunfailures": ("--reruns", "1"),
    "pytest_retry": ("--retries", "1"),
    "flaky": ("--force-flaky",),
}
"""What makes pytest run a test again, by plugin: ours above, and others where they are installed.
"""


def session_of(
    folder: Path, *arguments: str, **env: str
) -> tuple[subprocess.CompletedProcess[str], RunFolder]:
    """Run the suite in a copy of the project; return what it said, and what it left."""
    project = make_project(folder, SUITE, CONFTEST)
    environment = {**os.environ, "HISTORIES": str(HISTORIES / "unique-try"), **env}
    done = run_project(project, "--airflow", "3.3.2", *arguments, environment=environment)
    run = next((project / "reports" / "runs").glob("*-3.3.2"))
    assert (run.parent / "latest").resolve() == run, "`latest` is the newest session"
    return done, read_run(run)


def record_of(run: RunFolder) -> SessionRecord:
    assert run.session is not None
    return run.session


def end_of(run: RunFolder, name: str) -> Ended:
    return next(end for test, end in record_of(run).tests.items() if name in test)


def folders(run: RunFolder, name: str) -> list[str]:
    return sorted(path.name for path in (run.path / "tests").glob(f"{name}-*"))


def results(run: RunFolder, name: str) -> list[Mapping[str, Any]]:
    found = [json.loads(path.read_text()) for path in run.path.glob("allure-results/*-result.json")]
    return [result for result in found if name in result["name"]]


@pytest.mark.parametrize("plugin", AGAIN)
def test_a_violation_stays_whatever_runs_later(tmp_path: Path, plugin: str) -> None:
    if plugin not in ("told", "silent") and importlib.util.find_spec(plugin) is None:
        pytest.skip(f"{plugin} is not installed")
    done, run = session_of(tmp_path / "project", "-k", "judged", *AGAIN[plugin])
    assert done.returncode == 1, done.stdout + done.stderr
    assert record_of(run).exit_status == 1
    assert end_of(run, "test_judged").outcome == "failed"
    name = "test_judged-embedded-3.3.2"
    assert folders(run, "test_judged") == [name, f"{name}.2"]
    assert [record.verdict for record in run.tests] == ["invalid"]
    assert [record.verdict for record in run.others] == ["valid"]
    assert "unique-try" in (run.path / "tests" / name / "witness.txt").read_text()
    assert {result["status"] for result in results(run, "test_judged")} == {"failed"}
    said = done.stdout.split("airflow-ha-chaos =")[-1]
    assert "ran 2 times; its worst end counts: failed" in said
    assert "broke no promise" not in said
    assert json.loads((run.path / "verdict.json").read_text())["verdict"] == "invalid"


def test_what_cannot_tell_at_first_stays_unknown(tmp_path: Path) -> None:
    done, run = session_of(tmp_path / "project", "-k", "judged", "--again", "told", FIRST="unknown")
    assert done.returncode == 1, done.stdout + done.stderr
    assert end_of(run, "test_judged").outcome == "broken"


@pytest.mark.parametrize(
    "dist", ["loadgroup", *(pytest.param(each, marks=at_night) for each in ("load", "loadscope"))]
)
def test_a_crash_stays_though_xdist_runs_the_test_again(tmp_path: Path, dist: str) -> None:
    done, run = session_of(
        tmp_path / "project", "-k", "dies", "-n", "2", "--dist", dist, DIE="1", FIRST="valid"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert end_of(run, "test_dies").outcome == "crashed"
    attempts = 1 if dist == "load" else 2
    assert len(folders(run, "test_dies")) == attempts
    report = allure_report(run.path, tmp_path / "staged")
    assert {r["status"] for r in report if "test_dies" in r["name"]} == {"broken"}


def timeout(method: str) -> tuple[str, ...]:
    """Ask for a time limit of pytest-timeout's where it is installed, else of ours above."""
    if importlib.util.find_spec("pytest_timeout") is None:
        return ("--limit", method)
    return ("--timeout", "3", "--timeout-method", method)


def test_a_time_limit_leaves_the_verdict_unknown(tmp_path: Path) -> None:
    limit = timeout("signal")
    done, run = session_of(tmp_path / "project", *limit, HANG="1", FIRST="valid")
    assert done.returncode == 1, done.stdout + done.stderr
    assert end_of(run, "test_judged").outcome == "broken"
    assert {record.test.split("[")[0][-6:]: record.verdict for record in run.tests} == {
        "judged": "unknown",
        "t_dies": "valid",
    }
    assert end_of(run, "test_next").outcome == "passed"
    assert end_of(run, "test_next").seconds >= 0.2


def test_a_violation_seen_before_a_time_limit_is_one(tmp_path: Path) -> None:
    _, run = session_of(tmp_path / "project", *timeout("signal"), "-k", "judged", HANG="1")
    assert [record.verdict for record in run.tests] == ["invalid"]
    assert end_of(run, "test_judged").outcome == "failed"


def test_a_time_limit_that_ends_the_process_leaves_the_newest_session(tmp_path: Path) -> None:
    done, run = session_of(tmp_path / "project", *timeout("thread"), HANG="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(run.missing) == 3
    assert any("did not come to its end" in problem for problem in run.problems)


def test_a_violation_that_was_seen_stays_when_the_session_is_stopped(tmp_path: Path) -> None:
    done, run = session_of(tmp_path / "project", STOP="1")
    assert done.returncode == 2, done.stdout + done.stderr
    assert [record.verdict for record in run.tests] == ["invalid"]
    assert "unique-try" in done.stdout
