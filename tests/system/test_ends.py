"""A scheduler that dies of itself in a run, on real Airflow: it comes back, and is told of."""

import json
from pathlib import Path
from typing import Any

import pytest

from oracle.events import ProcessEvent
from oracle.history import read
from tests.labs import at_night
from tests.system.projects import make_project, run_project

pytestmark = [pytest.mark.xdist_group("labs-3"), at_night]

SUITE = '''
"""What is told of a scheduler that dies of itself?"""

import os
import signal
import time

import pytest

from chaos.network_latency import NetworkLatency
from oracle.events import DagRunEvent, ProcessEvent

pytestmark = pytest.mark.flood("smoke")


def die(lab, history):
    dag_id = lab.api.dag_ids()[0]
    os.kill(lab.state.processes["scheduler-2"].pid, signal.SIGSEGV)
    lab.api.trigger(dag_id, f"dies-{time.time_ns()}")
    history.wait(lambda e: isinstance(e, ProcessEvent) and e.op == "started", 20, "a new start")
    history.wait(lambda e: isinstance(e, DagRunEvent) and e.new == "success", 60, "a success")


def test_undisturbed(lab, history):
    """Nobody did anything to it."""
    die(lab, history)


def test_disturbed(lab, history, faults):
    """Its database was slow."""
    with faults(NetworkLatency("scheduler-2", latency=0.02)):
        for _ in range(30):
            history.look_for_faults()
            time.sleep(0.1)
        die(lab, history)
'''

CONFTEST = '"""Nothing."""\n'


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    project = make_project(tmp_path_factory.mktemp("ends"), SUITE, CONFTEST)
    done = run_project(project, "--airflow", "3.3.2", "--cold", timeout=1600)
    return project / "reports" / "runs" / "latest" / "tests", done.stdout


def kept(tests: Path, name: str) -> tuple[dict[str, Any], list[str], str]:
    """Return a test's verdict, what became of its processes, and its witness."""
    [folder] = tests.glob(f"{name}-*")
    events = read(folder / "history.ndjson")[1]
    told = [e for e in events if isinstance(e, ProcessEvent) and e.op != "watched"]
    became = [f"{e.process} {e.op} {e.exit_code}" for e in told]
    verdict = json.loads((folder / "verdict.json").read_text())
    return verdict, became, (folder / "witness.txt").read_text()


BECAME = ["scheduler-2 ended -11", "scheduler-2 started None"]


def test_an_end_that_nothing_explains_breaks_a_promise(session: tuple[Path, str]) -> None:
    verdict, became, witness = kept(session[0], "test_undisturbed")

    assert verdict["verdict"] == "invalid", session[1]
    assert verdict["violations"]["no-crash"] == 1
    assert became == BECAME
    assert "but scheduler-2 ended by SIGSEGV" in witness


def test_an_end_that_a_fault_explains_is_in_the_history_alone(session: tuple[Path, str]) -> None:
    verdict, became, _ = kept(session[0], "test_disturbed")

    assert verdict["verdict"] == "valid", session[1]
    assert became == BECAME
