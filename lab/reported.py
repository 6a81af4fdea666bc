"""The version that a started Airflow reports must be the one that was asked for.

What is asked for names it three times: the package that was installed, the image's tag, the chart's
airflowVersion. Each may be overridden, and none is proof of what answers. Nor is a version a build:
an image's tag may be given to other code at any time, its digest may not.
"""

import hashlib
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version

from common.errors import UserError

_LENGTH = 12


def same_version(one: str, other: str) -> bool:
    """Tell whether two versions are one, local parts (+mine.1) aside; what is none is no other."""
    try:
        return Version(one).public == Version(other).public
    except InvalidVersion:
        return one == other


def require_version(asked: str, reported: str) -> None:
    """Raise UserError unless the API server reports the version that was asked for."""
    if not same_version(asked, reported):
        raise UserError(
            f"Airflow {asked} was asked for, but the API server reports {reported}.",
            "What runs is another than its name says: look at the image's tag, and at values of "
            "your own (images, defaultAirflowTag).",
        )


def image_build(digests: Iterable[str]) -> str:
    """Return the build that images are, by their digests as a container runtime tells them.

    Such as docker.io/apache/airflow@sha256:ab.. or sha256:ab..; empty where none is told. A release
    under way from one image to another is a build of its own.
    """
    told = sorted({each.rpartition("sha256:")[2] for each in digests if "sha256:" in each})
    if len(told) > 1:
        return hashlib.sha256(" ".join(told).encode()).hexdigest()[:_LENGTH]
    return told[0][:_LENGTH] if told else ""
