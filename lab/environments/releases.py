"""Which releases of Airflow there are, as the user's package index tells.

uv asks it, as everywhere else here: with the user's own index settings, and passing over what was
yanked and what does not run on our Python.
"""

import re
import tempfile
from pathlib import Path

from packaging.version import Version

from common.errors import UserError
from lab.environments import pins
from lab.environments.uvtool import PYTHON, InstallError, run_uv

LOOKUP_LIMIT = 120.0
"""Seconds that one question to the index may take."""


def newest_patches() -> list[Version]:
    """Return the newest patch of every line of Airflow 3 that has a release, oldest line first.

    Raises UserError if the index does not answer, or has no Airflow 3.
    """
    newest = _newest_below(pins.OLDEST.major + 1, 0)
    if newest < pins.OLDEST:
        raise UserError(
            f"The package index has no Airflow {pins.OLDEST.major}: its newest is {newest}.",
            "Check your UV_* or PIP_INDEX_URL settings.",
        )
    below = [_newest_below(newest.major, minor + 1) for minor in range(newest.minor)]
    return _one_a_line([*below, newest])


def candidates(patches: list[Version]) -> list[Version]:
    """Return the newest pre-release of every line, where it is newer than the line's patch.

    Alphas, betas and release candidates: who waits for the candidate learns late what a line of
    Airflow changes.

    Raises UserError if the index does not answer.
    """
    last = _newest_below(pins.OLDEST.major + 1, 0, candidates=True)
    below = [
        _newest_below(last.major, minor + 1, candidates=True)
        for minor in range(last.minor if last >= pins.OLDEST else 0)
    ]
    released = {(patch.major, patch.minor): patch for patch in patches}
    return [
        version
        for version in _one_a_line([*below, last])
        if version.pre is not None
        and version > released.get((version.major, version.minor), pins.OLDEST)
    ]


def _one_a_line(versions: list[Version]) -> list[Version]:
    """Drop what a question about a line without a release was answered with: an older line's."""
    return sorted({version for version in versions if version >= pins.OLDEST})


def _newest_below(major: int, minor: int, *, candidates: bool = False) -> Version:
    """Return the newest release below `major.minor` (PEP 440: its candidates are not below it)."""
    found = newest_below(f"{major}.{minor}", candidates=candidates)
    if found is None:
        raise UserError(f"The package index tells no release of Airflow below {major}.{minor}.")
    return found


def newest_below(limit: str, *, candidates: bool = False) -> Version | None:
    """Return the newest release below a version as it is written, None where uv names none.

    Raises UserError if the index does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="releases-") as name:
        folder = Path(name)
        (folder / "wanted.in").write_text(f"apache-airflow<{limit}\n")
        try:
            answer = run_uv(
                *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"),
                *("--no-emit-index-url", "--no-emit-find-links", "--python-version", PYTHON),
                *("--prerelease", "allow" if candidates else "disallow", "wanted.in"),
                directory=folder,
                limit=LOOKUP_LIMIT,
            )
        except InstallError as error:
            reason = error.message.removeprefix("uv could not install it: ")
            raise UserError(
                f"The package index does not tell Airflow's releases: {reason}",
                "Check the network and your UV_* or PIP_INDEX_URL settings, then run it again.",
            ) from None
    found = re.search(r"^apache-airflow==(\S+)", answer, re.MULTILINE)
    return Version(found[1]) if found else None
