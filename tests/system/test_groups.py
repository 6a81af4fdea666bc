"""Tests that must not run beside each other run in one process: `make test` rests on it.

They share what a machine has few of: a group of labs has one at a time. pytest 9.2 keeps a test's
id elsewhere than pytest-xdist 3.8 writes the group, and the groups were gone without a word.
"""

import re
import subprocess
import sys
from pathlib import Path

from tests.system.projects import PROJECT

TESTS = """
import os
import time

import pytest

pytestmark = pytest.mark.xdist_group("labs")


@pytest.mark.parametrize("number", range(3))
def test_it(number):
    with open("workers.txt", "a") as told:
        told.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
    time.sleep(0.2)
"""


def make_test_options() -> list[str]:
    """Return how `make test` spreads the tests."""
    found = re.search(
        r"-m pytest \$\(TESTS\) (.+?)\s*\\?$", (PROJECT / "Makefile").read_text(), re.M
    )
    assert found is not None
    return found[1].split()


def test_a_group_is_run_by_one_worker(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *make_test_options()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    workers = (tmp_path / "workers.txt").read_text().split()
    assert len(workers) == 6
    assert len(set(workers)) == 1
