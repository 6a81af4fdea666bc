"""Runs in anybody's Python, by its text: `probe` says what is installed, `start` starts Airflow.

    probe    without importing it: Python's version, the packages, and a digest of the code
    start    imports what every component needs; prints the version, and the drivers of the engines

Each prints JSON as its last line. The digest is over the contents of Airflow and of the providers
that the lab runs, so that a fix edited in place, or an editable install, is seen as another
Airflow. Names are those within the package `airflow`, the first on the path counting as for an
import, so that the same code has the same digest wherever it is. The web UI and bytecode are left
out.

Importing `airflow` alone proves little: 3.1.1 as resolved for its release day does that, and
fails when its command line is imported. So `start` imports what the lab is going to run. It is
given the lab's own database URLs, of which Airflow makes engines: the drivers are those that will
be used, whatever this Airflow and its SQLAlchemy take by default.
"""

import hashlib
import importlib
import json
import os
import sys
from importlib import metadata, util
from pathlib import Path

PROVIDERS = ("cncf/kubernetes", "common/compat", "standard")
"""The providers that a lab runs: the KubernetesExecutor's, what it imports, a flood's operators."""

PAGES = ("ui/", "api_fastapi/auth/managers/simple/ui/")
SKIPPED = {"__pycache__", "node_modules"}
MODULES = (
    "psycopg2",
    "airflow.cli.cli_parser",
    "airflow.api_fastapi.app",
    "airflow.jobs.scheduler_job_runner",
    "airflow.dag_processing.manager",
    "airflow.sdk.execution_time.execute_workload",
    "airflow.sdk.execution_time.supervisor",
    "airflow.providers.standard.operators.python",
    "airflow.providers.cncf.kubernetes.executors.kubernetes_executor",
)


def probe() -> "dict[str, object]":
    """Return what this Python has, without importing any of it."""
    digest = hashlib.sha256()
    for within, path in sorted(_code().items()):
        digest.update(within.encode() + b" " + hashlib.sha256(path.read_bytes()).digest())
    return {
        "python": ".".join(str(part) for part in sys.version_info[:2]),
        "packages": _packages(),
        "code": digest.hexdigest(),
    }


def _packages() -> "dict[str, str]":
    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            canonical = name.lower().replace("_", "-").replace(".", "-")
            packages.setdefault(canonical, distribution.version)
    return packages


def _code() -> "dict[str, Path]":
    """Return the files that are a part of what is tested, by their names within the package."""
    files: dict[str, Path] = {}
    for place in _places():
        for root, folders, names in os.walk(place):
            folders[:] = sorted(set(folders) - SKIPPED)
            for path in (Path(root, name) for name in names):
                within = path.relative_to(place).as_posix()
                if _counts(within) and path.is_file():
                    files.setdefault(within, path)
    return files


def _places() -> "list[Path]":
    """Return the folders that are the package `airflow`, in the order in which they are searched.

    An editable install may be known to an import hook alone.
    """
    spec = util.find_spec("airflow")
    hooked = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    return [*(Path(entry, "airflow") for entry in sys.path if entry), *hooked]


def _counts(name: str) -> bool:
    if name.startswith("providers/"):
        ours = tuple(f"{provider}/" for provider in PROVIDERS)
        return name[len("providers/") :].startswith(ours)
    return not name.endswith(".pyc") and not name.startswith(PAGES)


def start() -> "dict[str, object]":
    """Import what the lab runs, make the engines, run `airflow version`."""
    airflow = importlib.import_module("airflow")
    for name in MODULES:
        importlib.import_module(name)
    settings = importlib.import_module("airflow.settings")
    drivers = [engine.dialect.driver for engine in (settings.engine, settings.async_engine)]
    sys.argv = ["airflow", "version"]
    importlib.import_module("airflow.__main__").main()
    return {"version": airflow.__version__, "drivers": drivers}


if __name__ == "__main__":
    print(json.dumps(probe() if sys.argv[1] == "probe" else start()))
