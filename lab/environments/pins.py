"""The pinned versions of Airflow: one file of exact requirements a version, in versions/."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from common.errors import UserError
from common.paths import PROJECT

log = logging.getLogger(__name__)

VERSIONS = PROJECT / "versions"
"""The folder of pin files, `<version>.txt`."""

OLDEST = Version("3.0.0")
"""The oldest Airflow that the lab runs: workers of older ones write to the database themselves."""

_AIRFLOW = re.compile(r"apache-airflow(-core)?\s*([=<>!~;(\[].*)?$")

HOW_TO_PIN = "Pin another one: python -m lab.environments pin VERSION"


def pinned() -> list[str]:
    """Return the versions that have a pin file, oldest first."""
    return sorted((path.stem for path in VERSIONS.glob("*.txt")), key=Version)


def newest() -> str:
    """Return the newest pinned version that is final: a pre-release is tested only when named."""
    return [version for version in pinned() if not Version(version).is_prerelease][-1]


def newest_for(requirements: Iterable[str]) -> str:
    """Return the newest pinned Airflow with which these requirements of a provider agree.

    A final one if there is one; raises UserError if there is none at all.
    """
    wanted = [text for text in requirements if _AIRFLOW.match(text)]
    by_age = sorted(
        pinned(), key=lambda version: (not Version(version).is_prerelease, Version(version))
    )
    for version in reversed(by_age):
        if not unmet(wanted, {"apache-airflow": version, "apache-airflow-core": version}):
            return version
    raise UserError(
        f"It needs {' and '.join(wanted)}, and the newest pinned Airflow is {pinned()[-1]}.",
        HOW_TO_PIN,
    )


def pin_path(version: str) -> Path:
    """Return where the pin file of this version is, or would be."""
    return VERSIONS / f"{version}.txt"


def nearest(version: str) -> str:
    """Return the newest pinned version at or below `version`, or the oldest pinned one."""
    wanted = Version(version)
    below = [known for known in pinned() if Version(known) <= wanted]
    return below[-1] if below else pinned()[0]


def locked_packages(pins: str) -> dict[str, str]:
    """Return what the text of a pin file installs here: version by canonical name."""
    packages: dict[str, str] = {}
    for line in pins.splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate():
                exact = str(requirement.specifier).removeprefix("==")
                packages[canonicalize_name(requirement.name)] = exact
    return packages


def unmet(requirements: list[str], packages: dict[str, str]) -> tuple[str, ...]:
    """Return those of `requirements` that `packages` (version by name) do not fulfil, sorted.

    A requirement for another platform, or of an extra, does not count.
    """
    missing = set()
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            log.info("Ignoring a requirement that is not one: %s", text)
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        have = packages.get(canonicalize_name(requirement.name))
        if have is None or not requirement.specifier.contains(have, prereleases=True):
            missing.add(text)
    return tuple(sorted(missing))
