"""A test whose xdist worker dies is told of everywhere: no session is greener for a crash."""

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.records import SessionRecord
from reports.store import read_run
from tests.system.projects import allure_report, make_project, run_project

SUITE = '''
"""Does a session tell of what it lost?"""

import os
import signal

import pytest


@pytest.mark.parametrize("number", [1, 2, 3])
def test_passes(lab: str, number: int) -> None:
    """Pass."""


@pytest.mark.scenario("57618")
@pytest.mark.parametrize("deed", ["die"])
def test_dies(lab: str, deed: str) -> None:
    """Die as by the kernel's out-of-memory killer."""
    if lab == "3.0.6":
        os.kill(os.getpid(), signal.SIGKILL)


def test_fails(lab: str) -> None:
    """Fail."""
    assert lab == "3.3.2", "an odd release"


def test_skips(lab: str) -> None:
    """Skip."""
    pytest.skip("not today")


def test_errs(lab: str) -> None:
    """Raise what no check raises."""
    raise OSError("the disk is full")
'''


def label(result: dict[str, Any], name: str) -> str:
    return next(str(each["value"]) for each in result["labels"] if each["name"] == name)


Folder = Callable[[str], Path]


class Crashed:
    """A session of two workers and two releases, in which one worker is killed."""

    def __init__(self, project: Path) -> None:
        make_project(project, SUITE)
        self.arguments = ("--airflow", "3.0.6", "--airflow", "3.3.2", "-n", "2")
        self.done = run_project(project, *self.arguments)
        self.runs = project / "reports" / "runs"

    def folder(self, airflow: str) -> Path:
        return next(self.runs.glob(f"*-{airflow}"))

    def session(self, airflow: str) -> SessionRecord:
        record = read_run(self.folder(airflow)).session
        assert record is not None
        return record

    @functools.cached_property
    def results(self) -> list[dict[str, Any]]:
        return allure_report(self.runs, self.runs.parent / "staged")


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Crashed:
    return Crashed(tmp_path_factory.mktemp("project"))


def test_the_session_is_red(crashed: Crashed) -> None:
    assert crashed.done.returncode == 1, crashed.done.stdout + crashed.done.stderr


def test_every_collected_test_has_its_end(crashed: Crashed) -> None:
    for airflow in ("3.0.6", "3.3.2"):
        session = crashed.session(airflow)
        assert session.airflow == airflow
        assert session.ended is not None
        assert session.exit_status == 1
        assert len(session.collected) == 7
        assert set(session.tests) == set(session.collected)
        assert all(f"embedded-{airflow}" in test for test in session.collected)


def test_each_end_has_its_outcome_and_reason(crashed: Crashed) -> None:
    ends = {
        test.split("::")[1].split("[")[0]: (end.outcome, end.reason)
        for test, end in crashed.session("3.0.6").tests.items()
    }
    assert ends["test_passes"] == ("passed", "")
    assert ends["test_fails"] == ("failed", "an odd release")
    assert ends["test_skips"] == ("skipped", "not today")
    assert ends["test_errs"] == ("broken", "the disk is full")
    outcome, reason = ends["test_dies"]
    assert outcome == "crashed"
    assert "crashed while running" in reason


def test_allure_finds_a_whole_result_of_every_test_also_without_a_report(crashed: Crashed) -> None:
    paths = [*crashed.runs.glob("*/allure-results/*-result.json")]
    raw = [json.loads(path.read_text()) for path in paths]
    assert len(raw) == 14
    assert {label(each, "lab") for each in raw} == {"embedded"}
    assert {label(each, "environment") for each in raw} == {
        label(each, "environment") for each in crashed.results
    }
    assert sorted(each["status"] for each in raw) == sorted(
        each["status"] for each in crashed.results
    )
    assert len({each["historyId"] for each in raw}) == 14


def test_allure_has_a_result_of_every_test(crashed: Crashed) -> None:
    assert len(crashed.results) == 14
    assert len({(r["testCaseId"], label(r, "environment")) for r in crashed.results}) == 14


def test_allure_has_the_crash_as_one_of_the_same_test_that_lived(crashed: Crashed) -> None:
    found = [result for result in crashed.results if "test_dies" in result["name"]]
    died, lived = sorted(found, key=lambda result: label(result, "environment"))
    assert died["status"] == "broken"
    assert "crashed while running" in died["statusDetails"]["message"]
    assert label(died, "finding") == "Crashed or vanished"
    assert lived["status"] == "passed"
    assert died["fullName"] == lived["fullName"]
    assert label(died, "environment") == "Airflow 3.0.6, embedded, 2 schedulers"
    assert label(lived, "environment") == "Airflow 3.3.2, embedded, 2 schedulers"
    assert label(lived, "severity") == "critical"
    assert lived["links"][0]["name"] == "apache/airflow#57618"


def test_the_terminal_names_what_crashed(crashed: Crashed) -> None:
    said = crashed.done.stdout.split("airflow-ha-chaos")[-1]
    line = next(line for line in said.splitlines() if "test_dies" in line)
    assert "crashed" in line


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("stopped"), SUITE)
    done: subprocess.CompletedProcess[str] = run_project(
        project, "--airflow", "3.1.8", "-x", "-k", "fails or errs"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return next((project / "reports" / "runs").glob("*-3.1.8"))


def test_what_never_ran_is_missing_from_the_session_and_broken_in_allure(stopped: Path) -> None:
    run = read_run(stopped)
    assert [test.split("::")[1] for test in run.missing] == ["test_errs[embedded-3.1.8]"]
    report = allure_report(stopped, stopped.parent.parent / "staged")
    never = next(result for result in report if "test_errs" in result["name"])
    assert never["status"] == "broken"
    assert never["statusDetails"]["message"] == "It was to run, and did not come to its end."
