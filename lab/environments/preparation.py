"""Turns what a user gives to `--airflow` into an Airflow that starts, and pins what is to stay."""

import hashlib
import logging
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from common.errors import UserError
from common.files import write_whole
from lab.base import Airflow
from lab.environments import checkout, pins, store
from lab.environments.interpreter import About, StartError, probe, read_about, start, write_about
from lab.environments.recipe import FORM, Recipe, airflow_wheels
from lab.environments.releases import day_after_release, resolve, written
from lab.environments.request import Request, describe

log = logging.getLogger(__name__)


def prepare(spec: str) -> Airflow:
    """Return the Airflow that `spec` asks for; its environment is made where it is missing.

    Warm this takes under a second: what is there is compared with what was installed, and made
    again, which a line says, where somebody changed it. Raises UserError for bad input, for
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


def foresee(spec: str) -> str:
    """Refuse at once what `prepare` would, without making anything or asking an index.

    Returns a line about what only the index knows, empty where nothing is left open. Raises
    UserError, with the words of `prepare`.
    """
    request = describe(spec)
    if request.kind == "checkout":
        _recipe_of_checkout(request)
    elif request.kind == "wheel":
        if base := _at_hand(_published(request.version)):
            _recipe_of_wheels(request, base)
    elif request.kind == "version" and _at_hand(request.version) is None:
        return (
            f"Airflow {request.version} is not pinned: only a run asks the package index whether "
            f"it was published. Pinned are {', '.join(pins.pinned())}."
        )
    return ""


def pins_of(version: str) -> str:
    """Return the exact pins of a version: from versions/, or resolved once and kept.

    Raises UserError if the version was never published, InstallError if the index does not say.
    """
    found = _at_hand(version)
    if found is None:
        store.require_disk(store.environments_dir())
        found = resolve(version, day_after_release(version))
        write_whole(_kept(version), found)
        log.info("Not pinned; to pin it: python -m lab.environments pin %s", version)
    return found


def _at_hand(version: str) -> str | None:
    """Return the exact pins of a version that need no index; None where there are none."""
    path = pins.pin_path(version)
    if not path.is_file():
        path = _kept(version)
    return path.read_text() if path.is_file() else None


def _kept(version: str) -> Path:
    return store.environments_dir() / f".{version}.txt"


def _from_version(request: Request) -> Airflow:
    recipe = Recipe(request.version, pins_of(request.version))
    python, found = _started(recipe, f"python -m lab.environments pin {request.version} ")
    return _airflow(request, python, recipe.key, found)


def _started(recipe: Recipe, command: str = "") -> tuple[Path, About]:
    """Make an environment of pins alone; where it does not start, `command` holds a package."""
    try:
        return recipe.make()
    except StartError as error:
        hint = f"Hold the package that breaks it: {command}--constraint NAME==VERSION"
        raise StartError(error.message, hint) from None


def _from_wheels(request: Request) -> Airflow:
    recipe = _recipe_of_wheels(request, _base_pins(request.version))
    python, found = recipe.make()
    return _airflow(request, python, recipe.key, found)


def _recipe_of_wheels(request: Request, base: str) -> Recipe:
    """Return what is made of wheels over pins; UserError where no lab runs any of them."""
    path = request.path
    given = airflow_wheels(path)
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
    return Recipe(
        request.version,
        base,
        pins.unmet(needed, packages),
        tuple(wheel.path for wheel in used),
    )


def _from_checkout(request: Request) -> Airflow:
    recipe = _recipe_of_checkout(request)
    for name, version in checkout.provider_versions(request.path).items():
        log.info("The checkout's own %s %s is tested with it.", name, version)
    python, _ = recipe.make()
    sources = checkout.snapshot(request.path, request.version, python)
    return _airflow(request, python, sources.name, read_about(sources), (sources,))


def _recipe_of_checkout(request: Request) -> Recipe:
    """Return the ground for a checkout; UserError where it does not say what it needs."""
    near = pins.nearest(request.version)
    base = pins_of(near)
    needed = checkout.checkout_requirements(request.path)
    return Recipe(near, base, pins.unmet(needed, pins.locked_packages(base)))


def _from_python(request: Request) -> Airflow:
    python = request.path
    found = probe(python)
    packages = "\n".join(f"{name}=={version}" for name, version in sorted(found.packages.items()))
    digest = hashlib.sha256(f"{FORM}\n{python}\n{packages}\n{found.code}".encode()).hexdigest()
    key = f"python-{request.version}-{digest[:10]}"

    def started(folder: Path) -> None:
        write_about(folder, found, start(request.version, python))

    return _airflow(request, python, key, read_about(store.made(key, started)))


def _airflow(
    request: Request, python: Path, key: str, found: About, pythonpath: tuple[Path, ...] = ()
) -> Airflow:
    return Airflow(request.label, request.version, python, pythonpath, key, **vars(found))


def _base_pins(version: str) -> str:
    """Return the pins for wheels: of their own version if published, else of the nearest."""
    near = pins.nearest(version)
    try:
        return pins_of(_published(version))
    except UserError as error:
        log.info("%s The wheels go over the packages of %s.", error.message, near)
        return pins_of(near)


def _published(version: str) -> str:
    """Return the version by which the index is asked; development versions are never published."""
    plain = Version(version)
    return pins.nearest(version) if plain.is_devrelease else plain.public


def pin(version: str, before: datetime | None = None, constraints: tuple[str, ...] = ()) -> Path:
    """Write versions/<version>.txt and return its path.

    The pins are what was published before `before`, by default the end of the day of the release
    (UTC).
    `constraints` are requirements, such as structlog==25.4.0, for a release that its own day's
    packages break. Nothing is written unless Airflow starts with the pins. Raises UserError.
    """
    request = describe(version)
    if request.kind != "version":
        raise UserError(f"{version} is not a version.", "Give one such as 3.0.6.")
    before = before or day_after_release(request.version)
    text = f"# {command(request.version, before, constraints)}\n"
    text += resolve(request.version, before, constraints)
    log.info("Proving the pins of %s.", request.version)
    _started(Recipe(request.version, text))
    write_whole(request.path, text)
    return request.path


def command(version: str, before: datetime | None, constraints: tuple[str, ...]) -> str:
    """Return the command that makes the same pin file again, on any day."""
    parts = [f"python -m lab.environments pin {version}"]
    parts += [f"--exclude-newer {written(before)}"] if before else []
    parts += [f"--constraint '{constraint}'" for constraint in constraints]
    return " ".join(parts)
