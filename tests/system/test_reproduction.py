"""The project's own claim, on real Airflow: the race where it is known, silence where it is not.

Each test runs the suite as a user would, in a process of its own, and reads what it left.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.paths import RUNS_VARIABLE

PROJECT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.xdist_group("labs-1")


def run_suite(runs: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Run the suites as a user does; return exit code, output and the run's verdict.json."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", *arguments],
        cwd=PROJECT,
        env={**os.environ, RUNS_VARIABLE: str(runs)},
        capture_output=True,
        text=True,
        timeout=2400,
        check=False,
    )
    verdict = json.loads((runs / "latest" / "verdict.json").read_text())
    return done.returncode, done.stdout, verdict


@pytest.fixture(scope="module")
def known_bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, dict[str, Any]]:
    return run_suite(tmp_path_factory.mktemp("runs"), "-k", "held", "--airflow", "3.0.6")


def test_an_affected_release_is_red(known_bad: tuple[int, str, dict[str, Any]]) -> None:
    code, output, verdict = known_bad
    assert code == 1, output
    assert verdict["verdict"] == "invalid"
    assert verdict["violations"]["unique-try"] >= 46


def test_the_second_worker_is_refused(known_bad: tuple[int, str, dict[str, Any]]) -> None:
    _, output, verdict = known_bad
    assert verdict["duplicate_pods"] >= 2, output
    assert verdict["refused_starts"] >= 2, output


def test_the_witness_tells_who_did_what(known_bad: tuple[int, str, dict[str, Any]]) -> None:
    _, output, _ = known_bad
    assert "scheduler-1" in output
    assert "scheduler-2" in output
    assert "invalid_state" in output
    assert "apache/airflow/issues/57618" in output


def test_a_fixed_release_is_green_with_the_hold_reached(tmp_path: Path) -> None:
    code, output, verdict = run_suite(tmp_path, "-k", "held", "--airflow", "3.3.2")
    assert code == 0, output
    assert verdict["verdict"] == "valid"
    assert verdict["task_instances"] >= 2 * 47
    reached = [
        assumption["met"]
        for test in verdict["tests"]
        for assumption in test["assumptions"]
        if assumption["name"] == "hold-reached"
    ]
    assert reached == [True, True]
