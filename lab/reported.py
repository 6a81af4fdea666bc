"""The version that a started Airflow reports must be the one that was asked for.

What is asked for names it three times: the package that was installed, the image's tag, the chart's
airflowVersion. Each may be overridden, and none is proof of what answers.
"""

from packaging.version import InvalidVersion, Version

from lab.errors import LabError


def same_version(one: str, other: str) -> bool:
    """Tell whether two versions are one, local parts (+mine.1) aside; what is none is no other."""
    try:
        return Version(one).public == Version(other).public
    except InvalidVersion:
        return one == other


def require_version(asked: str, reported: str) -> None:
    """Raise LabError unless the API server reports the version that was asked for."""
    if not same_version(asked, reported):
        raise LabError(
            f"Airflow {asked} was asked for, but the API server reports {reported}.",
            "What runs is another than its name says: look at the image's tag, and at values of "
            "your own (images, defaultAirflowTag).",
        )
