"""Which releases of Airflow were published between two, as the user's package index tells.

uv is asked for the newest below one, again and again: it speaks to the index with the user's own
settings, and passes over what was yanked.
"""

import re
import tempfile
from pathlib import Path

from packaging.version import Version

from lab.environments.releases import LOOKUP_LIMIT
from lab.environments.uvtool import PYTHON, InstallError, run_uv
from lab.errors import LabError

_ANY_CANDIDATE = "rc9999"


def between(low: Version, high: Version, *, candidates: bool = False) -> list[Version]:
    """Return `low`, `high` and the releases between them, in order of their versions.

    Without `candidates` only final ones. Raises LabError if the index does not answer.
    """
    found = [high]
    while (below := _newest_below(found[-1], candidates)) is not None and below > low:
        found.append(below)
    return [low, *reversed(found)]


def _newest_below(version: Version, candidates: bool) -> Version | None:
    """Return the newest release below a version, None where there is none.

    A release's own candidates are not `<` it (PEP 440): they are asked for as below one more.
    """
    limit = str(version)
    if candidates and not version.is_prerelease:
        limit += _ANY_CANDIDATE
    with tempfile.TemporaryDirectory(prefix="releases-") as name:
        (Path(name) / "wanted.in").write_text(f"apache-airflow<{limit}\n")
        try:
            answer = run_uv(
                *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps"),
                *("--no-emit-index-url", "--no-emit-find-links", "--python-version", PYTHON),
                *("--prerelease", "allow" if candidates else "disallow", "wanted.in"),
                directory=Path(name),
                limit=LOOKUP_LIMIT,
            )
        except InstallError as error:
            raise LabError(
                f"The package index does not tell Airflow's releases: {error.message}",
                "Check the network and your index settings, or give --pinned.",
            ) from None
    found = re.search(r"^apache-airflow==(\S+)", answer, re.MULTILINE)
    return Version(found[1]) if found else None
