"""A copy of the project with suites of a test's own: sessions of the real plugin, without a lab."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from reports.allure.pasts import gather
from reports.allure.staging import stage
from reports.store import read_runs
from tests import forked

PROJECT = Path(__file__).resolve().parent.parent.parent

_PACKAGES = (
    "chaos", "common", "dags", "explore", "harness", "lab", "load", "oracle", "recorder", "reports",
    "run", "scenarios", "versions",
)  # fmt: skip

_CONFTEST = '''
from pathlib import Path

import pytest

from harness import preflight

preflight.wanted_lab = preflight.check_settings = lambda *_: None


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> str:
    """Stand where the lab would be: no Airflow is needed to die."""
    return str(request.param)
'''


def allure_report(runs: Path, into: Path) -> list[dict[str, Any]]:
    """Return the results that the Allure report of some runs is made of, by name."""
    stage(gather(read_runs([runs])), into)
    found = [json.loads(path.read_text()) for path in into.rglob("*-result.json")]
    return sorted(found, key=lambda result: str(result["name"]))


def make_project(folder: Path, suite: str, conftest: str = _CONFTEST) -> Path:
    """Copy the project's packages, and make `suite` its only test file."""
    for package in _PACKAGES:
        ignored = shutil.ignore_patterns("runs", "node_modules")
        shutil.copytree(PROJECT / package, folder / package, ignore=ignored)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(PROJECT / name, folder / name)
    suites = folder / "suites"
    suites.mkdir()
    shutil.copytree(PROJECT / "suites" / "scenarios", suites / "scenarios")
    (suites / "__init__.py").touch()
    (suites / "conftest.py").write_text(conftest)
    (suites / "test_tiny.py").write_text(suite)
    return folder


def run_project(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, timeout: float = 480
) -> subprocess.CompletedProcess[str]:
    """Run the project's suites as a user does."""
    return forked.run(
        [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        timeout=timeout,
    )
