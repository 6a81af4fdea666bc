"""What the user's package index says: which releases of Airflow there are, and what each met.

uv asks it, as everywhere else here: with the user's own index settings, and passing over what was
yanked and what does not run on our Python.
"""

import logging
import re
import tempfile
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from packaging.version import Version

from common.errors import UserError
from lab.environments import pins
from lab.environments.settings import prefers_psycopg_3
from lab.environments.uvtool import PYTHON, UV_LIMIT, InstallError, run_uv

log = logging.getLogger(__name__)

LOOKUP_LIMIT = 120.0
"""Seconds that one question about releases may take."""


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

    None if the index does not say. What is published up to then is what the release met.

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
    if not times:
        log.info("The index has no upload times: %s gets today's packages.", version)
        return None
    before = midnight(max(times).date() + timedelta(days=1))
    log.info("Resolving %s as of its release, before %s.", version, written(before))
    return before


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
    options = ("--universal", "--no-annotate", *limit)
    return _compile(requirements(version), *options, constraints=constraints)


def _nearest(version: str) -> str:
    """Return the nearest pinned version, no pre-release for who asked for a final one."""
    near = pins.nearest(version)
    named = Version(version).is_prerelease or not Version(near).is_prerelease
    return near if named else pins.newest()


def _compile(
    wanted: list[str],
    *options: str,
    constraints: tuple[str, ...] = (),
    limit: float = UV_LIMIT,
) -> str:
    with tempfile.TemporaryDirectory(prefix="resolve-") as name:
        folder = Path(name)
        (folder / "wanted.in").write_text("\n".join(wanted) + "\n")
        (folder / "constraints.txt").write_text("\n".join(constraints) + "\n")
        return run_uv(
            *("pip", "compile", "--quiet", "--no-header", "--python-version", PYTHON),
            *("--no-emit-index-url", "--no-emit-find-links"),
            *("--constraint", "constraints.txt", *options, "wanted.in"),
            directory=folder,
            limit=limit,
        )


def _instant(upload: object) -> datetime:
    """Return an upload time, which TOML gives as a datetime or as text, in UTC."""
    moment = upload if isinstance(upload, datetime) else datetime.fromisoformat(str(upload))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def newest_patches() -> list[Version]:
    """Return the newest patch of every line of Airflow 3 that has a release, oldest line first.

    Raises UserError if the index does not answer, or has no Airflow 3.
    """
    newest, lines = _newest_of_lines()
    if not lines:
        raise UserError(
            f"The package index has no Airflow {pins.OLDEST.major}: its newest is {newest}.",
            "Check your UV_* or PIP_INDEX_URL settings.",
        )
    return lines


def candidates(patches: list[Version]) -> list[Version]:
    """Return the newest pre-release of every line, where it is newer than the line's patch.

    Alphas, betas and release candidates: who waits for the candidate learns late what a line of
    Airflow changes.

    Raises UserError if the index does not answer.
    """
    _, lines = _newest_of_lines(candidates=True)
    released = {(patch.major, patch.minor): patch for patch in patches}
    return [
        version
        for version in lines
        if version.pre is not None
        and version > released.get((version.major, version.minor), pins.OLDEST)
    ]


def _newest_of_lines(*, candidates: bool = False) -> tuple[Version, list[Version]]:
    """Return the newest release of all, and the newest of every line of Airflow 3, oldest first.

    A question about a line without a release is answered with an older line's: that one is dropped.
    """
    newest = _newest_below(pins.OLDEST.major + 1, 0, candidates=candidates)
    lines = range(newest.minor if newest >= pins.OLDEST else 0)
    below = [_newest_below(newest.major, line + 1, candidates=candidates) for line in lines]
    return newest, sorted({each for each in [*below, newest] if each >= pins.OLDEST})


def _newest_below(major: int, minor: int, *, candidates: bool) -> Version:
    """Return the newest release below `major.minor` (PEP 440: its candidates are not below it)."""
    found = newest_below(f"{major}.{minor}", candidates=candidates)
    if found is None:
        raise UserError(f"The package index has no release of Airflow below {major}.{minor}.")
    return found


def newest_below(limit: str, *, candidates: bool = False) -> Version | None:
    """Return the newest release below a version as it is written, None where uv names none.

    Raises UserError if the index does not answer.
    """
    try:
        answer = _compile(
            [f"apache-airflow<{limit}"],
            *("--no-annotate", "--no-deps", "--prerelease", "allow" if candidates else "disallow"),
            limit=LOOKUP_LIMIT,
        )
    except InstallError as error:
        reason = error.message.removeprefix("uv could not install it: ")
        raise UserError(
            f"The package index does not name Airflow's releases: {reason}",
            "Check the network and your UV_* or PIP_INDEX_URL settings, then run it again.",
        ) from None
    found = re.search(r"^apache-airflow==(\S+)", answer, re.MULTILINE)
    return Version(found[1]) if found else None
