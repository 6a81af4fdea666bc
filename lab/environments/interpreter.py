"""Asks a Python what it has, and starts Airflow in it once."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from lab.base import Airflow
from lab.environments.command import run
from lab.environments.drivers import database_urls
from lab.environments.settings import clean_environment

PROBE_LIMIT = 60.0
"""Seconds for a Python to say what is installed in it; it takes 0.4 s."""

START_LIMIT = 300.0
"""Seconds for the first start of Airflow; it takes 4 to 8 s on two cores."""

NEEDED = {
    "apache-airflow-providers-cncf-kubernetes": "the KubernetesExecutor",
    "apache-airflow-providers-standard": "the tasks of a flood",
    "psycopg2-binary": "PostgreSQL",
    "asyncpg": "PostgreSQL from the API server",
}
_SAME = {"psycopg2-binary": "psycopg2"}


class StartError(UserError):
    """Airflow is installed and does not start; the message ends with its last words."""


@dataclass(frozen=True)
class Probe:
    """What a Python has: its own version, packages by canonical name, a digest of the code."""

    python: str
    packages: dict[str, str]
    code: str

    @property
    def airflow(self) -> str | None:
        """Return the version of the installed Airflow, None without one.

        Since 3.0 the code is in apache-airflow-core, and apache-airflow may be missing.
        """
        return self.packages.get("apache-airflow-core") or self.packages.get("apache-airflow")


@dataclass(frozen=True)
class Started:
    """What Airflow said as it started: its version, and its drivers, synchronous one first."""

    version: str
    drivers: tuple[str, ...]


def lab_urls(airflow: Airflow) -> dict[str, str]:
    """Return the lab's own database URLs, leading nowhere: they name the drivers."""
    return database_urls(airflow, 9, "none", "start")


def probe(python: Path, pythonpath: tuple[Path, ...] = ()) -> Probe:
    """Return what `python` has installed; raises UserError if it is not a Python at all."""
    try:
        done = _run(Airflow("", "", python, pythonpath), "probe.py", PROBE_LIMIT)
        told = json.loads(done.stdout.splitlines()[-1])
        return Probe(told["python"], told["packages"], told["code"])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError, KeyError, TypeError):
        raise UserError(
            f"{python} is not a Python that runs.",
            "Give the bin/python of an environment that has Airflow.",
        ) from None


def require_complete(python: Path, found: Probe) -> None:
    """Raise UserError, naming what to install, unless `found` has all that the lab runs."""
    missing = [
        name
        for name in NEEDED
        if name not in found.packages and _SAME.get(name, name) not in found.packages
    ]
    if missing:
        uses = ", ".join(NEEDED[name] for name in missing)
        raise UserError(
            f"{python} has no {', '.join(missing)} (for {uses}).",
            f"Run: {python} -m pip install {' '.join(missing)}",
        )


def start(version: str, python: Path, pythonpath: tuple[Path, ...] = ()) -> Started:
    """Import everything that the lab runs, make the engines, run `airflow version`.

    Raises StartError with the last line of what it said when it does not start.
    """
    airflow = Airflow(version, version, python, pythonpath)
    try:
        done = _run(airflow, "start.py", START_LIMIT, lab_urls(airflow))
    except subprocess.TimeoutExpired:
        raise StartError(
            f"Airflow did not start in {START_LIMIT:.0f} s.",
            f"See what it does: {python} -m airflow version",
        ) from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise StartError(
            f"Airflow does not start: {said[-1][:300] if said else 'it said nothing'}",
            "A package of another version than this Airflow expects is the usual cause.",
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return Started(told["version"], tuple(told["drivers"]))


def _run(
    airflow: Airflow, script: str, limit: float, settings: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a script of this package in an Airflow's Python, as the lab runs its daemons."""
    code = (Path(__file__).parent / script).read_text()
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        Path(folder, "tmp").mkdir()
        environ = {**clean_environment(airflow, home), **(settings or {})}
        return run([airflow.python, "-c", code], directory=home, environ=environ, limit=limit)
