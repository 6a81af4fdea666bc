"""A lab boots and judges, whatever the shell, the home and the folders of who asks.

All at once, and in a session of its own: variables of libpq, Python, Locust, Airflow and Kubernetes
that lead elsewhere, a home with files that do, a locale that there is not, a mask that closes all
that is made, few open files, no standard input; and paths with spaces and umlauts that are longer
than a socket's address.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.paths import CACHE_VARIABLE, RUNS_VARIABLE, cache_dir, make_folder
from tests import poisoned
from tests.labs import at_night
from tests.system.projects import make_project

PROJECT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.xdist_group("labs-2")

SUITE = '''
import pytest

from scenarios.perform import Performer


@pytest.mark.scenario("57618")
def test_held(scenario, permutation, history):
    """The recorder, the holds and forked workers."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.flood("smoke")
def test_flood(flood):
    """Locust."""
    flood.run()
'''
AS_BAD_AS_CAN_BE = 'umask 077; ulimit -Sn 256; exec "$@" <&-'


@pytest.fixture
def folder() -> Iterator[Path]:
    """Lend a folder that PostgreSQL's user can pass, 170 bytes deep."""
    top = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    top.chmod(0o755)
    deep = top.joinpath(*["ein sehr langer Ordnername voller Umlaute äöü"] * 3)
    make_folder(deep)
    yield deep
    shutil.rmtree(top)


def borrow_cache(folder: Path) -> None:
    """Fill a cache with what takes long to make: it stays where it is."""
    make_folder(folder)
    for each in cache_dir().iterdir():
        if each.is_dir() and each.name.startswith(("environments", "templates", "postgres-")):
            (folder / each.name).symlink_to(each)


def started_with_their_path(home: Path) -> int:
    return len((home / "started").read_text().split())


@at_night
def test_a_lab_is_the_same_whatever_shell_asks_for_it(folder: Path) -> None:
    checkout, cache, runs, home = (folder / each for each in ("checkout", "cache", "runs", "home"))
    make_project(checkout, SUITE, conftest="")
    borrow_cache(cache)
    command = [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", "-q"]
    command += ["-k", "start-task or flood", "--airflow", "3.0.6", "--expect-known"]
    command += ["--flood-runs", "2"]  # of so few no rate is asked
    places = {CACHE_VARIABLE: str(cache), RUNS_VARIABLE: str(runs)}
    done = subprocess.run(
        ["sh", "-c", AS_BAD_AS_CAN_BE, "sh", *command],
        cwd=checkout,
        env={**poisoned.shell(home), **places},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=2400,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    verdict: dict[str, Any] = json.loads((runs / "latest" / "verdict.json").read_text())
    held, flooded = sorted(verdict["tests"], key=lambda test: str(test["test"]), reverse=True)
    assert held["verdict"] == "invalid", done.stdout
    unmet = [each["name"] for each in flooded["assumptions"] if not each["met"]]
    # Of two runs one scheduler may take both, which leaves nothing to tell of several.
    assert [name for name in unmet if not name.startswith("decisions-of-")] == [], done.stdout
    assert flooded["verdict"] == ("unknown" if unmet else "valid"), done.stdout
    assert len((home / "started").read_text().split()) == 1, "their path reached another Python"
    assert list((cache / "labs").iterdir()) == []
