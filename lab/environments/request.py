"""Reads what a user gives to `--airflow`."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version

from common.errors import UserError
from common.nearest import did_you_mean
from common.paths import path_of
from lab.environments import interpreter, pins
from lab.environments.checkout import checkout_version, is_checkout
from lab.environments.recipe import Wheel, airflow_wheels

Kind = Literal["version", "wheel", "checkout", "python"]


@dataclass(frozen=True)
class Request:
    """What a `--airflow` asks for.

    `label` is short and fit for a file name. `path` is the wheel, the folder of wheels, the
    checkout or the interpreter; for a version the pin file, which need not exist.
    """

    kind: Kind
    label: str
    version: str
    path: Path


def describe(spec: str) -> Request:
    """Return what `spec` asks for, without making anything or asking an index (under 1 s).

    Raises UserError, with a hint, for what is not a version of Airflow 3, its wheel, a folder of
    its wheels, a checkout of its sources, or a Python that has it.
    """
    spec = spec.strip()
    try:
        version = str(Version(spec))
    except InvalidVersion:
        return _describe_given(spec)
    return _supported("version", f"Airflow {version}", version, version, pins.pin_path(version))


def _describe_given(spec: str) -> Request:
    try:
        path = path_of(spec)
        if not spec or not path.exists():
            raise _unknown(spec)
        return _describe_path(path.absolute())
    except OSError as error:
        raise UserError(
            f"{error.filename or spec} cannot be read: {error.strerror}.",
            "Give a version, or a path that you can read.",
        ) from None


def _describe_path(path: Path) -> Request:
    if path.is_dir():
        return _describe_folder(path)
    if path.suffix == ".whl":
        return _supported("wheel", path.name, path.stem, _version_of(airflow_wheels(path)), path)
    if "python" in path.name and os.access(path, os.X_OK):
        return _describe_python(path)
    raise UserError(
        f"{path} is neither a wheel nor a Python.",
        "Give a version, apache_airflow_core-*.whl, a checkout of apache/airflow, or a Python.",
    )


def _describe_folder(path: Path) -> Request:
    if is_checkout(path):
        return _supported("checkout", str(path), path.name, checkout_version(path), path)
    if (path / "airflow/__init__.py").is_file():
        raise _too_old(f"The checkout {path}")
    if (path / "bin/python").exists():
        return _describe_python(path / "bin/python")
    if any(path.glob("*.whl")):
        version = _version_of(airflow_wheels(path))
        return _supported("wheel", str(path), path.name, version, path)
    raise UserError(
        f"{path} is not a checkout of Airflow 3 or a virtual environment, and has no wheels.",
        "A checkout has airflow-core/src and task-sdk/src; an environment has bin/python.",
    )


def _version_of(given: list[Wheel]) -> str:
    """Return the Airflow that wheels are or, of providers alone, that they go over."""
    if given[0].airflow:
        return given[0].version
    return pins.newest_for(text for wheel in given for text in wheel.requires)


def _describe_python(path: Path) -> Request:
    found = interpreter.probe(path)
    if found.airflow is None:
        raise UserError(
            f"{path} has no Airflow installed.",
            f"Run: {path} -m pip install apache-airflow {' '.join(interpreter.NEEDED)}. A lab's "
            "processes do not see what is in your own site-packages (pip install --user).",
        )
    name = path.parent.parent.name if path.parent.name == "bin" else path.name
    what = f"Airflow {found.airflow} of {path}"
    request = _supported("python", what, f"{name}-{found.airflow}", found.airflow, path)
    interpreter.require_complete(path, found)
    return request


def _supported(kind: Kind, what: str, name: str, version: str, path: Path) -> Request:
    """Return the request; raises UserError, about `what`, for a version that no lab runs."""
    try:
        supported = Version(version) >= pins.OLDEST
    except InvalidVersion:
        raise UserError(
            f"{what} states {version!r}, which is not a valid version.",
            "Give one that was built whole.",
        ) from None
    if not supported:
        raise _too_old(what)
    label = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-") or "airflow"
    return Request(kind, label, version, path)


def _too_old(what: str) -> UserError:
    return UserError(
        f"not supported: {what} is older than 3.0, which brought the task execution API.",
        f"Give 3.0.0 or later, for example {pins.newest()}.",
    )


def _unknown(spec: str) -> UserError:
    known = pins.pinned()
    if os.sep in spec or spec.endswith(".whl") or spec in ("", ".", ".."):
        return UserError(
            f"There is no {spec!r}.",
            f"Give a path that exists, or a version, for example {pins.newest()}.",
        )
    guess = did_you_mean(spec, known, like=0.5)
    return UserError(
        f"{spec!r} is neither a version of Airflow nor a path that exists.",
        f"{guess} Pinned are {', '.join(known)}. {pins.HOW_TO_PIN}".lstrip(),
    )
