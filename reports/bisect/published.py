"""Which releases of Airflow were published between two, as the user's package index tells.

uv is asked for the newest below one, again and again: it speaks to the index with the user's own
settings, and passes over what was yanked.
"""

from packaging.version import Version

from lab.environments.releases import newest_below

_ANY_CANDIDATE = "rc9999"


def between(low: Version, high: Version, *, candidates: bool = False) -> list[Version]:
    """Return `low`, `high` and the releases between them, in order of their versions.

    Without `candidates` only final ones. Raises UserError if the index does not answer.
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
    return newest_below(limit, candidates=candidates)
