"""Writes the pin file of an Airflow version, and proves it by starting what it installs."""

import logging
from datetime import datetime
from pathlib import Path

from common.errors import UserError
from lab.environments import store
from lab.environments.interpreter import StartError
from lab.environments.recipe import Recipe
from lab.environments.request import describe
from lab.environments.resolve import day_after_release, resolve, written

log = logging.getLogger(__name__)


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
    before = before or _day_after_release(request.version)
    text = f"# {command(request.version, before, constraints)}\n"
    text += resolve(request.version, before, constraints)
    log.info("Proving the pins of %s.", request.version)
    try:
        Recipe(request.version, text).make()
    except StartError as error:
        raise StartError(
            error.message, "Hold the package that breaks it: --constraint NAME==VERSION"
        ) from None
    store.write_whole(request.path, text)
    return request.path


def command(version: str, before: datetime | None, constraints: tuple[str, ...]) -> str:
    """Return the command that makes the same pin file again, on any day."""
    parts = [f"python -m lab.environments pin {version}"]
    parts += [f"--exclude-newer {written(before)}"] if before else []
    parts += [f"--constraint '{constraint}'" for constraint in constraints]
    return " ".join(parts)


def _day_after_release(version: str) -> datetime | None:
    found = day_after_release(version)
    if found is None:
        log.info("The index tells no upload times: pinning today's packages.")
    return found
