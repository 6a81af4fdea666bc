"""Bad input to the suite is one clear line, and nothing is booted for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.environments import pinned

PROJECT = Path(__file__).resolve().parent.parent.parent


def collect(*arguments: str) -> tuple[int, str]:
    """Let pytest collect the suites; return its exit code and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "--collect-only", "-q", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--airflow", "2.10.5"), "older than 3.0"),
        (("--airflow", "/no/such/place"), "There is no '/no/such/place'"),
        (("--airflow", "README.md"), "neither a wheel nor a Python"),
        (("--schedulers", "0"), "must be 1 or more"),
        (("--schedulers", "two"), "invalid"),
        (("--lab", "moon"), "invalid choice: 'moon'"),
        (("--keep-lab", "perhaps"), "invalid choice: 'perhaps'"),
        (("--until-clear", "0.01", "--whole-flood"), "give one of them"),
        (("--until-clear", "1"), "must lie between 0 and 1"),
    ],
)
def test_a_bad_option_is_told_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    code, output = collect(*arguments)
    assert code == 4
    assert said in output
    assert "Traceback" not in output


def test_every_airflow_gets_a_test_of_each_permutation() -> None:
    code, output = collect("--airflow", "3.0.6", "--airflow", "3.3.2", "-k", "gated")
    assert code == 0
    for version in ("3.0.6", "3.3.2"):
        for permutation in ("start-task", "fan-out"):
            assert f"test_gated[57618-{permutation}-embedded-{version}]" in output


def test_all_stands_for_every_pinned_airflow_once() -> None:
    code, output = collect("--airflow", "all", "--airflow", "3.0.6", "-k", "gated and start-task")
    assert code == 0
    for version in pinned():
        assert output.count(f"test_gated[57618-start-task-embedded-{version}]") == 1


def test_the_help_names_every_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("--lab", "--airflow", "--schedulers", "--seed", "--labs", "--keep-lab"):
        assert f"  {option}" in done.stdout
