"""Sessions are put the same question each, leave their runs where told, and end when asked to."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from common.errors import UserError
from common.paths import PROJECT, RUNS_VARIABLE
from lab.environments.pins import pinned
from reports.campaigns import sessions
from reports.campaigns.sessions import Plan, airflows, ask, command
from tests import forked
from tests.reports.matrix.told import keep, record

SLOW = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["HA_CHAOS_RUNS"])
(folder / "20261122-120000-3.0.6" / "tests").mkdir(parents=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    (folder / "labs-are-down").touch()
"""


def test_the_command_line_says_the_same_to_every_airflow() -> None:
    plan = Plan(seed=7, scenarios=("57618", "woken-scheduler"), count=3, workers=2)
    one, other = command(plan, "3.0.6"), command(plan, "3.3.2")
    assert [word for word in one if word != "3.0.6"] == [word for word in other if word != "3.3.2"]
    text = " ".join(one)
    assert "--airflow 3.0.6 --lab embedded --schedulers 2 --seed 7" in text
    assert "-m scenario and not meanwhile -k [57618- or [woken-scheduler- --count 3 -n 2" in text


@pytest.mark.parametrize(
    ("plan", "wanted", "unwanted"),
    [
        (Plan(1, ("57618",)), ["[57618-start-task-"], ["test_frozen", "flood"]),
        (Plan(1), ["[57618-", "[critical-section-", "[woken-scheduler-"], ["flood"]),
        (Plan(1, profile="floods"), ["[57618-", "test_flood_without_chaos"], ["link_cut"]),
        (Plan(1, profile="whole"), ["[57618-", "test_link_cut"], []),
    ],
    ids=["scenario", "quick", "floods", "whole"],
)
def test_the_plan_chooses_its_tests(plan: Plan, wanted: list[str], unwanted: list[str]) -> None:
    done = forked.run([*command(plan, "3.0.6"), "--collect-only"], cwd=PROJECT, timeout=240)
    assert done.returncode == 0, done.stdout
    assert [text for text in wanted if text not in done.stdout] == []
    assert [text for text in unwanted if text in done.stdout] == []


def test_all_stands_for_the_pinned_versions_once() -> None:
    assert airflows(["3.0.6", "all"]) == ("3.0.6", *(v for v in pinned() if v != "3.0.6"))


def test_the_harness_leaves_its_runs_where_the_variable_says(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from harness.session import RUNS; print(RUNS)"],
        cwd=PROJECT,
        env={**os.environ, RUNS_VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(tmp_path)


def test_a_session_that_leaves_no_run_is_an_error_that_names_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [sys.executable, "-c", "print('no such option')"]
    monkeypatch.setattr(sessions, "command", lambda *_: told)
    with pytest.raises(UserError, match="ran nothing on Airflow") as caught:
        ask(Plan(1), "3.0.6", tmp_path)
    assert (tmp_path / "pytest.log").read_text() == "no such option\n"
    assert str(tmp_path / "pytest.log") in caught.value.hint


def test_only_the_runs_of_this_session_are_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, 1, record(seed=1))
    keep(tmp_path / "elsewhere", 2, record(seed=2))
    script = f"import os; os.rename({str(tmp_path / 'elsewhere')!r} + '/20261122-120200-3.0.6', "
    script += "os.environ['HA_CHAOS_RUNS'] + '/20261122-120200-3.0.6')"
    monkeypatch.setattr(sessions, "command", lambda *_: [sys.executable, "-c", script])
    runs = ask(Plan(2), "3.0.6", tmp_path)
    assert [test.seed for test in runs.tests] == [2]


def test_ctrl_c_lets_the_session_take_its_labs_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "command", lambda *_: [sys.executable, "-c", SLOW])

    def interrupt() -> None:
        while not (tmp_path / "20261122-120000-3.0.6").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    others = set(psutil.Process().children())
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        ask(Plan(1), "3.0.6", tmp_path)
    assert (tmp_path / "labs-are-down").exists()
    assert set(psutil.Process().children()) <= others


def test_a_session_dies_with_who_asked_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from reports.campaigns import sessions; "
        "slow, folder = sys.argv[1:]; "
        "sessions.command = lambda *_: [sys.executable, '-c', slow]; "
        "sessions.ask(sessions.Plan(1), '3.0.6', Path(folder))"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", script, SLOW, str(tmp_path)], cwd=PROJECT, start_new_session=True
    )
    try:
        while not (tmp_path / "20261122-120000-3.0.6").exists():
            assert asking.poll() is None
            time.sleep(0.05)
        (session,) = psutil.Process(asking.pid).children()
    finally:
        asking.kill()
        asking.wait()
    psutil.wait_procs([session], timeout=40)
    assert not session.is_running()
