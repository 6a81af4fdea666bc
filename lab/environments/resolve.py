"""Finds the exact requirements of an Airflow version as they were on the day of its release."""

import logging
import tempfile
import tomllib
from datetime import date, datetime, timedelta
from pathlib import Path

from packaging.version import Version

from lab.environments import pins
from lab.environments.uvtool import PYTHON, InstallError, run_uv
from lab.errors import LabError

log = logging.getLogger(__name__)


def requirements(version: str) -> list[str]:
    """Return what an environment with this Airflow is asked to have.

    The core is named because uv takes a yanked release (3.0.5) or a release candidate only of
    a package that is asked for by that version; a candidate's task SDK is one as well.
    """
    wanted = [
        f"apache-airflow=={version}",
        f"apache-airflow-core=={version}",
        "apache-airflow-providers-cncf-kubernetes",
        "apache-airflow-providers-standard",
        "asyncpg",
        "psycopg2-binary",
    ]
    if Version(version).is_prerelease:
        wanted.append("apache-airflow-task-sdk>=1.0.0.dev0")
    return wanted


def release_day(version: str) -> date | None:
    """Return the day (UTC) this version was published, None if the index does not tell.

    Raises LabError if it was never published, InstallError if the index does not answer. uv
    writes upload times into a pylock.toml (PEP 751), which spares us speaking to the index.
    """
    try:
        lock = _compile([f"apache-airflow=={version}"], "--no-deps", "--format", "pylock.toml")
    except InstallError as error:
        if "no version of" not in error.message:
            raise
        raise LabError(
            f"Airflow {version} was never published.",
            f"The nearest that is pinned is {pins.nearest(version)}. {pins.HOW_TO_PIN}",
        ) from None
    files = [
        file
        for package in tomllib.loads(lock)["packages"]
        for file in [*package.get("wheels", []), package.get("sdist", {})]
    ]
    times = [file["upload-time"] for file in files if "upload-time" in file]
    return max(_day(time) for time in times) if times else None


def resolve(version: str, before: date | None, constraints: tuple[str, ...] = ()) -> str:
    """Return exact pins, one a line, of what was published before that day (UTC).

    The pins carry markers, so that one file serves every platform and Python 3.11 and later.
    Without `before` the newest of everything is taken. Raises InstallError.
    """
    limit = ("--exclude-newer", f"{before.isoformat()}T00:00:00Z") if before else ()
    return _compile(
        requirements(version),
        "--universal",
        "--no-annotate",
        *limit,
        constraints=constraints,
    )


def resolve_as_released(version: str) -> str:
    """Return exact pins of a published version as of its release day.

    Raises LabError if the version was never published, InstallError otherwise.
    """
    day = release_day(version)
    if day is None:
        log.info("The index tells no upload times: %s gets today's packages.", version)
        return resolve(version, None)
    log.info("Resolving %s as of its release day, %s.", version, day)
    return resolve(version, day + timedelta(days=1))


def _compile(wanted: list[str], *options: str, constraints: tuple[str, ...] = ()) -> str:
    with tempfile.TemporaryDirectory(prefix="resolve-") as name:
        folder = Path(name)
        (folder / "wanted.in").write_text("\n".join(wanted) + "\n")
        (folder / "constraints.txt").write_text("\n".join(constraints) + "\n")
        return run_uv(
            *("pip", "compile", "--quiet", "--no-header", "--python-version", PYTHON),
            *("--no-emit-index-url", "--no-emit-find-links"),
            *("--constraint", "constraints.txt", *options, "wanted.in"),
            directory=folder,
        )


def _day(time: object) -> date:
    """Return the day of an upload time, which TOML gives as a datetime or as text."""
    return (time if isinstance(time, datetime) else datetime.fromisoformat(str(time))).date()
