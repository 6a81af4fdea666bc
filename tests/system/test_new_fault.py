"""A new fault is its file and its test; a new power is besides one method of the lab that has it.

Both are added to a copy of the project, in that many files, and run on real Airflow.
"""

import json
import subprocess
from pathlib import Path

import pytest

from oracle.events import FaultEvent
from oracle.history import read
from tests.labs import at_night
from tests.system.projects import make_project, run_project

pytestmark = pytest.mark.xdist_group("labs-2")

NEW_FAULT = '''
"""A process that hardly gets on."""

import time
from dataclasses import dataclass

from chaos.base import Fault, Injection, require
from lab.base import Lab


@dataclass(frozen=True)
class Stutter(Fault[Lab]):
    """Freezes a process for a moment, as often as it is told."""

    process: str
    times: int = 2

    name = "stutter"
    powers = ("pause",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.times > 0, "It must stutter once at least.")

    @property
    def detail(self) -> str:
        return f"stutters {self.times} times"

    def inject(self, at: Injection[Lab]) -> None:
        for _ in range(self.times):
            at.lab.pause(self.process)
            time.sleep(0.1)
            at.lab.resume(self.process)

    def heal(self, at: Injection[Lab]) -> str:
        at.lab.resume(self.process)
        return "speaks well again"
'''

NEW_POWER = '''
"""A process whose neighbours take the machine."""

from dataclasses import dataclass
from typing import Protocol

from chaos.base import Fault, Injection
from lab.base import Lab


class NiceLab(Lab, Protocol):
    """A lab that has the power `nice`."""

    def nice(self, process: str, value: int) -> int: ...


@dataclass(frozen=True)
class BusyNeighbours(Fault[NiceLab]):
    """Leaves a process what others do not take."""

    process: str

    name = "busy-neighbours"
    powers = ("nice",)

    @property
    def detail(self) -> str:
        return "nice 19"

    def inject(self, at: Injection[NiceLab]) -> None:
        at.kept = at.lab.nice(self.process, 19)

    def fired(self, at: Injection[NiceLab]) -> bool:
        return at.kept == 19

    def heal(self, at: Injection[NiceLab]) -> None:
        """Leave it: only who may do all can be less nice again."""
'''

METHOD = '''
    def nice(self, process: str, value: int) -> int:
        """Give a process another share of the machine; return the share that it has then."""
        started = psutil.Process(self.state.processes[process].pid)
        started.nice(value)
        return int(started.nice())

    def pod_log('''

SUITE = '''
"""What does a new fault take?"""

import time

import pytest

from chaos.busy_neighbours import BusyNeighbours
from chaos.stutter import Stutter


def look(history):
    for _ in range(3):
        history.look_for_faults()
        time.sleep(0.1)


@pytest.mark.fault(Stutter("scheduler-2"))
def test_known_power(faults, history):
    """A power that labs have."""
    with faults(times=3):
        look(history)


@pytest.mark.fault(BusyNeighbours("scheduler-1"))
def test_new_power(faults, history):
    """A power that the embedded lab has learnt."""
    with faults():
        look(history)


@pytest.mark.fault(Stutter("scheduler-2"))
@pytest.mark.needs("node")
def test_missing_power(faults):
    """A power that the embedded lab has not."""
    with faults():
        pytest.fail("it ran")
'''

NO_LAB = """
import pytest

from harness import preflight
from lab.pool import Pool

preflight.wanted_lab = preflight.check_settings = lambda *_: None


def lease(*_, **__):
    pytest.fail("a lab was leased")


Pool.lease = lease
"""


def new_faults(project: Path) -> None:
    (project / "chaos" / "stutter.py").write_text(NEW_FAULT)
    (project / "chaos" / "busy_neighbours.py").write_text(NEW_POWER)


def learn_nice(project: Path) -> None:
    path = project / "lab" / "embedded" / "lab.py"
    text = path.read_text()
    for old, new in (
        ('{"pause", "kill",', '{"nice", "pause", "kill",'),
        ("\n    def pod_log(", METHOD),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    project = make_project(tmp_path_factory.mktemp("new-fault"), SUITE, '"""Nothing."""\n')
    new_faults(project)
    learn_nice(project)
    done = run_project(project, "--airflow", "3.3.2", timeout=1600)
    return project / "reports" / "runs" / "latest" / "tests", done.stdout


def kept(tests: Path, name: str) -> tuple[list[tuple[str | None, ...]], list[str]]:
    """Return the faults of a test's history, and which of its assumptions were met."""
    [folder] = tests.glob(f"{name}-*")
    events = read(folder / "history.ndjson")[1]
    found: list[tuple[str | None, ...]]
    found = [(e.op, e.name, e.process, e.detail) for e in events if isinstance(e, FaultEvent)]
    verdict = json.loads((folder / "verdict.json").read_text())
    return found, [each["name"] for each in verdict["assumptions"] if each["met"]]


@at_night
def test_a_new_fault_is_its_file_and_its_test(session: tuple[Path, str]) -> None:
    found, met = kept(session[0], "test_known_power")
    assert found == [
        ("begin", "stutter", "scheduler-2", "stutters 3 times"),
        ("end", "stutter", "scheduler-2", "speaks well again"),
    ]
    assert "fault-fired-stutter-scheduler-2" in met


@at_night
def test_a_new_power_is_besides_one_method_of_a_lab(session: tuple[Path, str]) -> None:
    found, met = kept(session[0], "test_new_power")
    assert found == [
        ("begin", "busy-neighbours", "scheduler-1", "nice 19"),
        ("end", "busy-neighbours", "scheduler-1", ""),
    ]
    assert "fault-fired-busy-neighbours-scheduler-1" in met


def without_a_lab(folder: Path, suite: str) -> "subprocess.CompletedProcess[str]":
    project = make_project(folder, suite, NO_LAB)
    new_faults(project)
    return run_project(project, "--airflow", "3.3.2")


def test_what_a_lab_cannot_do_is_skipped_before_one_is_leased(tmp_path: Path) -> None:
    done = without_a_lab(tmp_path, SUITE)
    assert "1 skipped" in done.stdout, done.stdout
    assert "needs node: the embedded lab's processes run on this machine" in done.stdout
    assert done.stdout.count("a lab was leased") >= 1, "what it can do is not skipped"
    assert "No lab has the power 'nice'" in done.stdout


def test_a_fault_that_makes_no_sense_is_one_line_at_collection(tmp_path: Path) -> None:
    done = without_a_lab(tmp_path, SUITE.replace('Stutter("scheduler-2")', 'Stutter("s", times=0)'))
    assert done.returncode == 2
    assert "It must stutter once at least." in done.stdout
