"""Asks a Python what it has, and starts Airflow in it once."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lab.base import Airflow
from lab.drivers import database_urls
from lab.environments.command import run
from lab.errors import LabError
from lab.settings import clean_environment

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


class StartError(LabError):
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


def probe(python: Path, pythonpath: tuple[Path, ...] = ()) -> Probe:
    """Return what `python` has installed; raises LabError if it is not a Python at all."""
    try:
        done = _run(python, "probe.py", pythonpath, PROBE_LIMIT)
        told = json.loads(done.stdout.splitlines()[-1])
        return Probe(told["python"], told["packages"], told["code"])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError, KeyError, TypeError):
        raise LabError(
            f"{python} is not a Python that runs.",
            "Give the bin/python of an environment that has Airflow.",
        ) from None


def require_complete(python: Path, found: Probe) -> None:
    """Raise LabError, naming what to install, unless `found` has all that the lab runs."""
    missing = [
        name
        for name in NEEDED
        if name not in found.packages and _SAME.get(name, name) not in found.packages
    ]
    if missing:
        uses = ", ".join(NEEDED[name] for name in missing)
        raise LabError(
            f"{python} has no {', '.join(missing)} (for {uses}).",
            f"Run: {python} -m pip install {' '.join(missing)}",
        )


def start(python: Path, version: str, pythonpath: tuple[Path, ...] = ()) -> str:
    """Import everything that the lab runs, run `airflow version`, and return that version.

    Nothing listens where the database URLs lead: they name the drivers that this `version` is
    given, and no more is asked. Raises StartError with the last line of what it said when it does
    not start.
    """
    try:
        urls = database_urls(Airflow("", version, python, pythonpath), 9, "none", "start")
        done = _run(python, "start.py", pythonpath, START_LIMIT, urls)
    except subprocess.TimeoutExpired:
        raise StartError(
            f"Airflow did not start in {START_LIMIT:.0f} s.",
            f"See what it does: {python} -m airflow version",
        ) from None
    if done.returncode != 0:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise StartError(
            f"Airflow does not start: {told[-1][:300] if told else 'it said nothing'}",
            "A package of another version than this Airflow expects is the usual cause.",
        )
    return str(json.loads(done.stdout.splitlines()[-1])["version"])


def _run(
    python: Path,
    script: str,
    pythonpath: tuple[Path, ...],
    limit: float,
    more: Mapping[str, str] = MappingProxyType({}),
) -> "subprocess.CompletedProcess[str]":
    """Run a script of this package in `python`, in the environment that the lab gives its daemons.

    `more` are further variables of it.
    """
    code = (Path(__file__).parent / script).read_text()
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        Path(folder, "tmp").mkdir()
        airflow = Airflow("", "", python, pythonpath)
        environ = {**clean_environment(airflow, home), **more}
        return run([python, "-c", code], directory=home, environ=environ, limit=limit)
