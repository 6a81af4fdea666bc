"""Asks a Python what it has, starts Airflow in it once, and keeps what was found.

A version alone says little: a checkout, a patched environment and a release all say 3.0.6. So a
digest of the code tells two builds apart.
"""

import hashlib
import json
import logging
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from common.errors import UserError
from common.files import last_line
from lab.base import BUILD_LENGTH, Airflow, same_version
from lab.environments.settings import clean_environment, database_urls
from lab.environments.uvtool import run

log = logging.getLogger(__name__)

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

ABOUT = "about.json"
"""The file in an environment that says what was installed in it."""

_DATABASE = (
    "sqlalchemy",
    "psycopg2",
    "psycopg2-binary",
    "psycopg",
    "psycopg-binary",
    "psycopg-c",
    "asyncpg",
)
_NAMED = (
    "apache-airflow",
    "apache-airflow-core",
    "apache-airflow-task-sdk",
    "apache-airflow-providers-cncf-kubernetes",
    "apache-airflow-providers-common-compat",
    "apache-airflow-providers-standard",
    "kubernetes",
    *_DATABASE,
)


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
class About:
    """A digest over Airflow's code, SQLAlchemy's and the drivers' versions; versions by package.

    `drivers` are those of several that are installed which this Airflow uses in a lab, the
    synchronous one first.
    """

    build: str
    packages: dict[str, str]
    drivers: tuple[str, ...] = ()


def lab_urls(airflow: Airflow) -> dict[str, str]:
    """Return the lab's own database URLs, leading nowhere: they name the drivers."""
    return database_urls(airflow, 9, "none", "start")


def probe(python: Path, pythonpath: tuple[Path, ...] = ()) -> Probe:
    """Return what `python` has installed; raises UserError if it is not a Python at all."""
    try:
        done = _run(Airflow("", "", python, pythonpath), "probe", PROBE_LIMIT)
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=Probe)
    except (OSError, subprocess.TimeoutExpired, IndexError, msgspec.MsgspecError):
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


def start(version: str, python: Path, pythonpath: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """Start Airflow once as the lab will; return its database drivers, the synchronous one first.

    Raises StartError with the last line of its output when it does not start, UserError when it
    reports another version, local part aside.
    """
    log.info("Starting Airflow %s once.", version)
    airflow = Airflow(version, version, python, pythonpath)
    try:
        done = _run(airflow, "start", START_LIMIT, lab_urls(airflow))
    except subprocess.TimeoutExpired:
        raise StartError(
            f"Airflow did not start in {START_LIMIT:.0f} s.",
            f"See what it does: {python} -m airflow version",
        ) from None
    if done.returncode != 0:
        raise StartError(
            f"Airflow does not start: {last_line(done.stderr)[:300]}",
            "A package of another version than this Airflow expects is the usual cause.",
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    if not same_version(version, answer["version"]):
        raise UserError(
            f"Airflow {version} was asked for, but what starts says that it is "
            f"{answer['version']}.",
            "Give apache_airflow_core-*.whl: apache_airflow-*.whl alone has no code in it.",
        )
    return tuple(answer["drivers"])


def _run(
    airflow: Airflow, what: str, limit: float, settings: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `probe` or `start` of inside.py in an Airflow's Python, as the lab runs its daemons."""
    code = (Path(__file__).parent / "inside.py").read_text()
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        Path(folder, "tmp").mkdir()
        environ = {**clean_environment(airflow, home), **(settings or {})}
        return run([airflow.python, "-c", code, what], directory=home, environ=environ, limit=limit)


def write_about(folder: Path, found: Probe, drivers: tuple[str, ...]) -> None:
    """Keep in a folder what tells the Airflow there from others.

    The digest is over the contents of Airflow's own files and of the providers that the lab runs,
    so that it is the same however they were installed; of the packages between Airflow and its
    database, which decide what a statement looks like, over the versions and which of them are
    used.
    """
    packages = {name: found.packages[name] for name in _NAMED if name in found.packages}
    database = [f"{name}=={packages[name]}" for name in _DATABASE if name in packages]
    digest = hashlib.sha256("\n".join([found.code, *database, *drivers]).encode())
    about = About(digest.hexdigest()[:BUILD_LENGTH], packages, drivers)
    (folder / ABOUT).write_bytes(msgspec.json.encode(about))


def read_about(folder: Path) -> About:
    """Return what `write_about` kept."""
    return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
