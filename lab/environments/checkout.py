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
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from common.environment import inherited
from common.errors import UserError
from lab.environments import store
from lab.environments.inside import PROVIDERS
from lab.environments.interpreter import probe, start, write_about
from lab.environments.recipe import CORE, FORM, META, TASK_SDK
from lab.environments.uvtool import run

log = logging.getLogger(__name__)

SOURCES = (Path("airflow-core/src"), Path("task-sdk/src"))
"""The folders of a checkout that Airflow is imported from; the first has the core."""

ASSETS = (Path("airflow/ui/dist"), Path("airflow/api_fastapi/auth/managers/simple/ui/dist"))
"""What a release builds into its wheel and a checkout does not have: the pages of the web UI."""

COMPILE_LIMIT = 300.0
"""Seconds for the bytecode of a checkout's sources; it takes 3 s."""


def is_checkout(path: Path) -> bool:
    """Return whether the folder looks like a checkout of apache/airflow, 3.0 or later."""
    return all((path / source / "airflow").is_dir() for source in SOURCES)


def checkout_version(path: Path) -> str:
    """Return the version that the sources state; raises UserError if they do not."""
    try:
        text = (path / SOURCES[0] / "airflow/__init__.py").read_text()
        found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    except (FileNotFoundError, UnicodeDecodeError):
        found = None
    if found is None:
        raise UserError(
            f"{path} does not state its version in airflow-core/src/airflow/__init__.py.",
            "Give the top folder of a checkout of apache/airflow.",
        )
    return found[1]


def checkout_requirements(path: Path) -> list[str]:
    """Return what its projects need from others, as their pyproject.toml say.

    Raises UserError where one is missing or unreadable.
    """
    needed: list[str] = []
    own = {META, CORE, TASK_SDK}
    for project in _projects(path):
        about = _pyproject(project)
        own.add(canonicalize_name(str(about.get("name", ""))))
        needed += about["dependencies"]
    named = re.compile(rf"({'|'.join(map(re.escape, sorted(own, key=len)))})\s*([=<>!~;\[].*)?$")
    return [text for text in needed if not named.match(text)]


def provider_versions(path: Path) -> dict[str, str]:
    """Return the versions of the providers that are taken from a checkout, by package."""
    found = [_pyproject(path / "providers" / name) for name in _providers(path)]
    return {canonicalize_name(str(about["name"])): str(about["version"]) for about in found}


def _projects(path: Path) -> list[Path]:
    providers = [path / "providers" / name for name in _providers(path)]
    return [*((path / source).parent for source in SOURCES), *providers]


def _providers(path: Path) -> list[str]:
    """Return those of the lab's providers whose sources a checkout has: a fix may be in them."""
    return [name for name in PROVIDERS if (path / _provider_source(name)).is_dir()]


def _provider_source(name: str) -> Path:
    return Path("providers", name, "src/airflow/providers", name)


def _pyproject(project: Path) -> dict[str, Any]:
    file = project / "pyproject.toml"
    try:
        about = tomllib.loads(file.read_text())["project"]
        return {"version": "", **about, "dependencies": [str(d) for d in about["dependencies"]]}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} does not say what it needs: {error}",
            "Give the top folder of a checkout of apache/airflow.",
        ) from None


def source_digest(path: Path) -> str:
    """Return a digest of the names and contents of the checkout's source files (0.1 s)."""
    digest = hashlib.sha256()
    for source in (*SOURCES, *map(_provider_source, _providers(path))):
        for root, folders, files in os.walk(path / source, followlinks=True):
            skipped = _skipped(root, [*folders, *files])
            folders[:] = sorted(set(folders) - skipped)
            for file in sorted(set(files) - skipped):
                where = Path(root, file)
                if where.is_file():
                    content = hashlib.sha256(where.read_bytes())
                    digest.update(f"{root}/{file} {content.hexdigest()}\n".encode())
    return digest.hexdigest()


def snapshot(path: Path, version: str, python: Path) -> Path:
    """Return the folder to import the checkout's sources from, made where it is missing.

    `python` is that of the environment that the sources go before; the web UI's pages, and only
    they, are copied from it. Core, task SDK and providers share one tree, as they do when
    installed: the task SDK looks for the core's `config.yml` there. Of a provider only its own
    package is copied, for `airflow.providers` is a namespace and has others too. Raises UserError
    when the disk is full or Airflow reports another version, StartError when it does not start.
    """
    versions = {CORE: version, **provider_versions(path)}

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
        for name in _providers(path):
            copied = folder / "airflow/providers" / name
            shutil.copytree(path / _provider_source(name), copied, ignore=_skipped)
        _add_assets(folder, python)
        _compile(folder, python)
        drivers = start(version, python, (folder,))
        found = probe(python, (folder,))
        write_about(folder, replace(found, packages={**found.packages, **versions}), drivers)

    digest = hashlib.sha256(f"{FORM} {source_digest(path)} {python}".encode()).hexdigest()
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
        run(argv, directory=folder, environ=inherited(), limit=COMPILE_LIMIT)
