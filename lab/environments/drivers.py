"""The URLs by which Airflow reaches its database, so that each of its sessions bears a name.

libpq, and so psycopg2 and psycopg 3, takes the name from PGAPPNAME; asyncpg is no libpq. Of what
stands in a URL's query SQLAlchemy makes arguments of `asyncpg.connect`, which has none for the
name; but it has `dsn`, and the query of that one becomes settings of the session, beside the
host, user and password that the URL itself gives (asyncpg/connect_utils.py, 0.30 to 0.32).
"""

import functools
import os
import subprocess
from pathlib import Path

from packaging.version import Version

from lab.base import Airflow

_PSYCOPG_3_SINCE = (3, 4)
_FINDS = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('psycopg') else 3)"


def prefers_psycopg_3(version: str) -> bool:
    """Tell whether an Airflow takes psycopg 3 for asynchronous sessions where that is installed.

    From 3.4 on, its pre-releases too (airflow/settings.py).
    """
    return Version(version).release >= _PSYCOPG_3_SINCE


def database_urls(airflow: Airflow, port: int, password: str, name: str) -> dict[str, str]:
    """Return the settings of both database drivers, for a process of this name."""
    place = f"airflow:{password}@127.0.0.1:{port}/airflow"
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{place}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": _asynchronous(airflow, place, name),
    }


def _asynchronous(airflow: Airflow, place: str, name: str) -> str:
    """Return the URL of asynchronous sessions, by the driver that Airflow itself would take."""
    if prefers_psycopg_3(airflow.version) and _has_psycopg_3(airflow):
        return f"postgresql+psycopg_async://{place}"
    return f"postgresql+asyncpg://{place}?dsn=postgresql:///?application_name={name}"


def _has_psycopg_3(airflow: Airflow) -> bool:
    return _finds_psycopg_3(airflow.python, airflow.pythonpath)


@functools.cache
def _finds_psycopg_3(python: Path, pythonpath: tuple[Path, ...]) -> bool:
    """Ask an interpreter, as Airflow does (find_spec), in nothing of the caller's environment."""
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, pythonpath))}
    done = subprocess.run([str(python), "-c", _FINDS], env=env, check=False)
    return done.returncode == 0
