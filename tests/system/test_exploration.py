"""The explorer on real Airflow: it finds what is there without being told, and nothing is lost."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from explore import schedule as schedules
from explore.coverage import Coverage
from explore.explorer import Explorer
from explore.plan import WORLDS, Plan, lab_spec
from explore.points import LEVELS
from explore.schedule import Deed
from explore.strategies import RandomWalk, Strategy
from lab.database import connect, value
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.state import LabState
from lab.supervised import SupervisedLab
from tests.labs import at_night, eventually, owned_by

PROJECT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.xdist_group("labs-2")


def explorer(folder: Path, airflow: str, *more: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "explore", "run", "--airflow", airflow]
    argv += ["--folder", str(folder), "--seed", "1", "--no-moves", *more]
    return subprocess.Popen(
        argv, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def broken(folder: Path) -> set[str]:
    """Return the promises that any find broke."""
    found = folder.glob("finds/*/schedule.yaml")
    return {promise for path in found for promise in schedules.read(path).broken}


def ended(pid: int) -> bool:
    """Return whether the labs of a process have ended; their logs stay until the next one."""
    states = [LabState.load(folder) for folder in owned_by(pid)]
    return all(state is not None and state.phase == "stopped" for state in states)


def rounds(folder: Path) -> int:
    """Return how many rounds an exploration remembers."""
    memory = folder / "exploration.json"
    return int(json.loads(memory.read_text())["totals"]["rounds"]) if memory.exists() else 0


@at_night
def test_finds_57618_where_it_is(tmp_path: Path) -> None:
    process = explorer(tmp_path, "3.0.6", "--rounds", "40")
    output, _ = process.communicate(timeout=3600)
    assert process.returncode == 1, output
    assert "unique-try" in broken(tmp_path), output


@at_night
@pytest.mark.parametrize("until", ["rounds", "a-find"])
def test_what_was_done_survives_a_kill_and_is_gone_on_with(tmp_path: Path, until: str) -> None:
    """On 3.3.2 two races that are known; #57618, repaired there, never."""
    process = explorer(tmp_path, "3.3.2", "--for", "15m")
    try:
        done = broken if until == "a-find" else rounds
        assert eventually(lambda: bool(done(tmp_path)), 800.0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = broken(tmp_path)
    assert found <= {"max-active-runs", "asset-events-consumed"}
    assert eventually(lambda: ended(process.pid), 60.0), "its lab dies with it"
    before = rounds(tmp_path)  # of batches that had ended; none where the first one had the find
    again = explorer(tmp_path, "3.3.2", "--rounds", "2")
    output, _ = again.communicate(timeout=1200)
    assert rounds(tmp_path) == before + 2, output
    assert broken(tmp_path) >= found, output


MOVES = (
    [Deed("kill", "scheduler-2", 20)],
    [Deed("pause", "scheduler-1", 20), Deed("resume", "scheduler-1", 60)],
    [Deed("silence", "scheduler-2", 20), Deed("tell", "scheduler-2", 40)],
    [Deed("resize", "default_pool", 2, state="1")],
)


class Moved:
    """Draws a round for each move, with the same runs."""

    def draw(self, number: int, coverage: Coverage, usual: int) -> tuple[Plan, Strategy]:  # noqa: ARG002
        """Return the plan and the strategy of a round."""
        runs = [Deed("trigger", dag, run=f"{n}") for n, dag in enumerate(("serial", "deep-2"))]
        plan = Plan("pods", LEVELS["pods"], [*runs, *MOVES[number]])
        return plan, RandomWalk(Random(number))


@pytest.fixture
def lab() -> Iterator[SupervisedLab]:
    owner = Owner.me()
    made = start(lab_spec(prepare("3.3.2"), WORLDS["run-a-loop"]), owner=(owner.pid, owner.born))
    yield made
    made.stop()


def test_who_is_killed_or_frozen_is_taken_for_dead_and_the_lab_is_whole_again(
    lab: SupervisedLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And requests are points in these rounds: pods are created, and deleted, one at a time."""
    caplog.set_level(logging.DEBUG, "explore.explorer")
    said: list[str] = []
    explorer = Explorer(lab, tmp_path, 1, Moved(), tell=said.append)
    explorer.explore(lambda: explorer.number >= len(MOVES))
    assert "refused" not in caplog.text
    assert explorer.totals.rounds == len(MOVES)
    assert explorer.totals.judged >= len(MOVES) - 1, said
    logs = [lab.logs()[name].read_text(errors="replace") for name in lab.schedulers]
    assert all("Marked 1 SchedulerJob instances as failed" in text for text in logs)
    assert lab.problems() == []
    with connect(lab.dsn()) as connection:
        assert value(connection, "SELECT slots FROM slot_pool") == 128
    ordered = {point for one, other, _ in explorer.coverage.pairs for point in (one, other)}
    assert ordered & {"before-create-pods", "after-create-pods"}
