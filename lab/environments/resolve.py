"""Finds the exact requirements of an Airflow version as they were on the day of its release."""

import logging
import tempfile
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from packaging.version import Version

from common.errors import UserError
from lab.environments import pins
from lab.environments.drivers import prefers_psycopg_3
from lab.environments.uvtool import PYTHON, InstallError, run_uv

log = logging.getLogger(__name__)


def requirements(version: str) -> list[str]:
    """Return what an environment with this Airflow is asked to have.

    The core is named because uv takes a yanked release (3.0.5) or a release candidate only of
    a package that is asked for by that version; a candidate's task SDK is one as well.
    psycopg2 is always there: it puts the values into a statement on the client, so that a hold can
    tell statements apart by them. Of asynchronous drivers there is each that an Airflow prefers.
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
    if prefers_psycopg_3(version):
        wanted.append("psycopg[binary]")
    return wanted


def day_after_release(version: str) -> datetime | None:
    """Return midnight (UTC) after the day this version was published.

    None if the index does not tell. What is published up to then is what the release met.

    Raises UserError if it was never published, InstallError if the index does not answer. uv
    writes upload times into a pylock.toml (PEP 751), which spares us speaking to the index.
    """
    try:
        lock = _compile([f"apache-airflow=={version}"], "--no-deps", "--format", "pylock.toml")
    except InstallError as error:
        if "no version of" not in error.message:
            raise
        raise UserError(
            f"Airflow {version} was never published.",
            f"The nearest that is pinned is {_nearest(version)}. {pins.HOW_TO_PIN}",
        ) from None
    files = [
        file
        for package in tomllib.loads(lock)["packages"]
        for file in [*package.get("wheels", []), package.get("sdist", {})]
    ]
    times = [_instant(file["upload-time"]) for file in files if "upload-time" in file]
    return midnight(max(times).date() + timedelta(days=1)) if times else None


def midnight(day: date) -> datetime:
    """Return the instant at which a day begins, in UTC."""
    return datetime.combine(day, time(), UTC)


def written(instant: datetime) -> str:
    """Return an instant as uv takes it, in UTC: a bare day is another instant in each time zone."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def resolve(version: str, before: datetime | None, constraints: tuple[str, ...] = ()) -> str:
    """Return exact pins, one a line, of what was published before that instant.

    The pins carry markers, so that one file serves every platform and Python 3.11 and later.
    Without `before` the newest of everything is taken. Raises InstallError.
    """
    limit = ("--exclude-newer", written(before)) if before else ()
    return _compile(
        requirements(version),
        "--universal",
        "--no-annotate",
        *limit,
        constraints=constraints,
    )


def resolve_as_released(version: str) -> str:
    """Return exact pins of a published version as of its release day.

    Raises UserError if the version was never published, InstallError otherwise.
    """
    before = day_after_release(version)
    if before is None:
        log.info("The index tells no upload times: %s gets today's packages.", version)
    else:
        log.info("Resolving %s as of its release, before %s.", version, written(before))
    return resolve(version, before)


def _nearest(version: str) -> str:
    """Return the nearest pinned version, no pre-release for who asked for a final one."""
    near = pins.nearest(version)
    named = Version(version).is_prerelease or not Version(near).is_prerelease
    return near if named else pins.newest()


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


def _instant(upload: object) -> datetime:
    """Return an upload time, which TOML gives as a datetime or as text, in UTC."""
    told = upload if isinstance(upload, datetime) else datetime.fromisoformat(str(upload))
    return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
