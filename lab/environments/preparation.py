"""Turns what a user gives to `--airflow` into an Airflow that starts."""

import hashlib
import logging
from pathlib import Path

from packaging.version import Version

from common.errors import UserError
from lab.base import Airflow
from lab.environments import about, checkout, interpreter, pins, store, wheels
from lab.environments.about import About
from lab.environments.recipe import FORM, Recipe, started
from lab.environments.request import Request, describe
from lab.environments.resolve import resolve_as_released

log = logging.getLogger(__name__)


def prepare(spec: str) -> Airflow:
    """Return the Airflow that `spec` asks for; its environment is made where it is missing.

    Warm this takes under a second: what is there is compared with what was installed, and made
    again, which is told in a line, where somebody changed it. Raises UserError for bad input, for
    no room on the disk, and for what cannot be installed or does not start.
    """
    request = describe(spec)
    kinds = {
        "version": _from_version,
        "wheel": _from_wheels,
        "checkout": _from_checkout,
        "python": _from_python,
    }
    return kinds[request.kind](request)


def pins_of(version: str) -> str:
    """Return the exact pins of a version: from versions/, or resolved once and kept.

    Raises UserError if the version was never published, InstallError if that cannot be told.
    """
    path = pins.pin_path(version)
    if path.is_file():
        return path.read_text()
    kept = store.environments_dir() / f".{version}.txt"
    if not kept.is_file():
        store.require_disk(kept.parent)
        store.write_whole(kept, resolve_as_released(version))
        log.info("Not pinned; to pin it: python -m lab.environments pin %s", version)
    return kept.read_text()


def _from_version(request: Request) -> Airflow:
    recipe = Recipe(request.version, pins_of(request.version))
    try:
        python, found = recipe.make()
    except interpreter.StartError as error:
        raise interpreter.StartError(
            error.message,
            "Hold the package that breaks it: python -m lab.environments pin "
            f"{request.version} --constraint NAME==VERSION",
        ) from None
    return _airflow(request, python, recipe.key, found)


def _from_wheels(request: Request) -> Airflow:
    path = request.path
    given = wheels.airflow_wheels(path) if path.is_dir() else wheels.airflow_wheel(path)
    base = _base_pins(request.version)
    packages = pins.locked_packages(base)
    used = [wheel for wheel in given if wheel.name in packages]
    if not used:
        names = ", ".join(wheel.name for wheel in given)
        raise UserError(
            f"{path} has only {names}, which no lab runs.",
            "A lab runs Airflow and the providers that the KubernetesExecutor needs.",
        )
    packages.update({wheel.name: wheel.version for wheel in used})
    needed = [text for wheel in used for text in wheel.requires]
    recipe = Recipe(
        request.version,
        base,
        pins.unmet(needed, packages),
        tuple(wheel.path for wheel in used),
    )
    python, found = recipe.make()
    return _airflow(request, python, recipe.key, found)


def _from_checkout(request: Request) -> Airflow:
    near = pins.nearest(request.version)
    base = pins_of(near)
    needed = checkout.checkout_requirements(request.path)
    for name, version in checkout.provider_versions(request.path).items():
        log.info("The checkout's own %s %s is tested with it.", name, version)
    missing = pins.unmet(needed, pins.locked_packages(base))
    recipe = Recipe(near, base, missing)
    python, _ = recipe.make()
    sources = checkout.snapshot(request.path, request.version, python)
    return _airflow(request, python, sources.name, about.read(sources), (sources,))


def _from_python(request: Request) -> Airflow:
    python = request.path
    found = interpreter.probe(python)
    packages = "\n".join(f"{name}=={version}" for name, version in sorted(found.packages.items()))
    digest = hashlib.sha256(f"{FORM}\n{python}\n{packages}\n{found.code}".encode()).hexdigest()
    key = f"python-{request.version}-{digest[:10]}"

    def start(folder: Path) -> None:
        about.write(folder, found, started(request.version, python).drivers)

    return _airflow(request, python, key, about.read(store.made(key, start)))


def _airflow(
    request: Request, python: Path, key: str, found: About, pythonpath: tuple[Path, ...] = ()
) -> Airflow:
    return Airflow(
        request.label,
        request.version,
        python,
        pythonpath,
        key,
        build=found.build,
        packages=found.packages,
        drivers=found.drivers,
    )


def _base_pins(version: str) -> str:
    """Return the pins for wheels: of their own version if published, else of the nearest.

    Development versions are never published, so the index is not asked for them.
    """
    plain = Version(version)
    near = pins.nearest(version)
    try:
        return pins_of(near if plain.is_devrelease else plain.public)
    except UserError as error:
        log.info("%s The wheels go over the packages of %s.", error.message, near)
        return pins_of(near)
