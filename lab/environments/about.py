"""What code an Airflow is: a digest by which two builds are told apart, and versions beside it.

A version alone does not tell: a checkout, a patched environment and a release all say 3.0.6.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lab.environments.interpreter import Probe

ABOUT = "about.json"
"""The file in an environment that tells what was installed in it."""

_DATABASE = (
    "sqlalchemy",
    "psycopg2",
    "psycopg2-binary",
    "psycopg",
    "psycopg-binary",
    "psycopg-c",
    "asyncpg",
)
_TOLD = (
    "apache-airflow",
    "apache-airflow-core",
    "apache-airflow-task-sdk",
    "apache-airflow-providers-cncf-kubernetes",
    "apache-airflow-providers-common-compat",
    "apache-airflow-providers-standard",
    "kubernetes",
    *_DATABASE,
)
_LENGTH = 12


@dataclass(frozen=True)
class About:
    """A digest over Airflow's code, SQLAlchemy's and the drivers' versions; versions by package.

    `drivers` are those of several that are installed which this Airflow uses in a lab, the
    synchronous one first.
    """

    build: str
    packages: dict[str, str]
    drivers: tuple[str, ...] = ()


def about(found: Probe, drivers: tuple[str, ...]) -> About:
    """Return what is to be told of an Airflow.

    The digest is over the contents of Airflow's own files and of the providers that the lab runs
    (probe.py says which), so that it is the same however they were installed; of the packages
    between Airflow and its database, which decide what a statement looks like, over the versions
    and which of them are used.
    """
    packages = {name: found.packages[name] for name in _TOLD if name in found.packages}
    database = [f"{name}=={packages[name]}" for name in _DATABASE if name in packages]
    digest = hashlib.sha256("\n".join([found.code, *database, *drivers]).encode())
    return About(digest.hexdigest()[:_LENGTH], packages, drivers)


def write(folder: Path, found: Probe, drivers: tuple[str, ...]) -> None:
    """Keep what is to be told of the Airflow in a folder."""
    (folder / ABOUT).write_bytes(msgspec.json.encode(about(found, drivers)))


def read(folder: Path) -> About:
    """Return what `write` kept."""
    return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
