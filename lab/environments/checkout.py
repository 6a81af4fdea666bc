"""Takes a snapshot of an Airflow source checkout, so that it runs without being built.

A run must not change while its author edits on, and Airflow writes next to its sources
(bytecode, `ui/dist`); so the checkout itself is only read.
"""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from lab.environments import interpreter, store
from lab.environments.command import clean_environ, run
from lab.environments.recipe import expect
from lab.environments.wheels import CORE, META, TASK_SDK
from lab.errors import LabError

log = logging.getLogger(__name__)

SOURCES = (Path("airflow-core/src"), Path("task-sdk/src"))
"""The folders of a checkout that Airflow is imported from; the first has the core."""

ASSETS = (Path("airflow/ui/dist"), Path("airflow/api_fastapi/auth/managers/simple/ui/dist"))
"""What a release builds into its wheel and a checkout lacks: the pages of the web UI."""

COMPILE_LIMIT = 300.0
"""Seconds for the bytecode of a checkout's sources; it takes 3 s."""


def is_checkout(path: Path) -> bool:
    """Tell whether the folder looks like a checkout of apache/airflow, 3.0 or later."""
    return all((path / source / "airflow").is_dir() for source in SOURCES)


def checkout_version(path: Path) -> str:
    """Return the version that the sources state; raises LabError if they do not."""
    try:
        text = (path / SOURCES[0] / "airflow/__init__.py").read_text()
        found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        raise LabError(
            f"{path} does not state its version in airflow-core/src/airflow/__init__.py.",
            "Give the top folder of a checkout of apache/airflow.",
        )
    return found[1]


def checkout_requirements(path: Path) -> list[str]:
    """Return what core and task SDK need from other projects, as their pyproject.toml say.

    Raises LabError where one is missing or unreadable.
    """
    needed: list[str] = []
    for source in SOURCES:
        project = path / source.parent / "pyproject.toml"
        try:
            needed += tomllib.loads(project.read_text())["project"]["dependencies"]
        except (OSError, KeyError, ValueError) as error:
            raise LabError(
                f"{project} does not tell what it needs: {error}",
                "Give the top folder of a checkout of apache/airflow.",
            ) from None
    own = re.compile(rf"({CORE}|{TASK_SDK}|{META})\s*([=<>!~;].*)?$")
    return [text for text in needed if not own.match(text)]


def source_digest(path: Path) -> str:
    """Return a digest that changes with every change to a source file of the checkout.

    It is made of names, sizes and modification times: hashing contents would take seconds.
    """
    digest = hashlib.sha256()
    for source in SOURCES:
        for root, folders, files in os.walk(path / source, followlinks=True):
            skipped = _skipped(root, [*folders, *files])
            folders[:] = sorted(set(folders) - skipped)
            for file in sorted(set(files) - skipped):
                where = Path(root, file)
                if not where.exists():
                    continue
                status = where.stat()
                digest.update(f"{root}/{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def snapshot(path: Path, version: str, python: Path) -> Path:
    """Return the folder to import the checkout's sources from, made where it is missing.

    `python` is that of the environment that the sources go before; the web UI's pages, and only
    they, are copied from it. Core and task SDK share one tree, as they do when installed: the
    task SDK looks for the core's `config.yml` there. Raises LabError when the disk is full or
    Airflow reports another version, StartError when it does not start.
    """

    def build(folder: Path) -> None:
        log.info("Copying %s to run it over %s.", path, python.parents[1].name)
        for source in reversed(SOURCES):
            shutil.copytree(
                path / source,
                folder,
                ignore=_skipped,
                ignore_dangling_symlinks=True,
                dirs_exist_ok=True,
            )
        _add_assets(folder, python)
        _compile(folder, python)
        log.info("Starting Airflow %s once.", version)
        expect(version, interpreter.start(python, (folder,)))

    digest = hashlib.sha256(f"{source_digest(path)} {python}".encode()).hexdigest()
    return store.made(f"checkout-{version}-{digest[:10]}", build)


def _skipped(folder: str, names: list[str]) -> set[str]:
    """Return which entries of a source folder no running Airflow needs."""
    if any(Path(folder).match(str(assets.parent)) for assets in ASSETS):
        return set(names) - {"dist", "__init__.py"}
    return {name for name in names if name == "__pycache__" or name.endswith(".pyc")}


def _add_assets(folder: Path, python: Path) -> None:
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    for assets in ASSETS:
        if not (folder / assets).exists() and (site / assets).is_dir():
            shutil.copytree(site / assets, folder / assets)


def _compile(folder: Path, python: Path) -> None:
    argv = (python, "-m", "compileall", "-q", ".")
    with contextlib.suppress(subprocess.TimeoutExpired):
        run(argv, directory=folder, environ=clean_environ(), limit=COMPILE_LIMIT)
