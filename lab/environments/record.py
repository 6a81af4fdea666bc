"""Whether what is installed is what its wheels hold, by the RECORD that each wheel brings.

uv installs from its cache, and other installers may have linked the same files into other
environments: an edit there is an edit in the cache, and what is then installed from it is no
longer what was published.
"""

import base64
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Altered:
    """An installed distribution, and the first of its files that its RECORD does not vouch for."""

    name: str
    version: str
    file: str

    @property
    def requirement(self) -> str:
        """Return how an installer is asked for it."""
        return f"{self.name}=={self.version}"

    @property
    def airflows_own(self) -> bool:
        """Tell whether it is Airflow or one of its providers."""
        return self.name.startswith("apache-airflow")


def altered(site_packages: Path, besides: frozenset[str] = frozenset()) -> list[Altered]:
    """Return the distributions whose files are not those of their wheels, but for `besides`.

    A file of which a RECORD has no digest (RECORD itself) is not looked at.
    """
    found = []
    for record in sorted(site_packages.glob("*.dist-info/RECORD")):
        about = PathDistribution(record.parent)
        name = canonicalize_name(str(about.metadata["Name"]))
        file = next(_differing(site_packages, record), None)
        if file is not None and name not in besides:
            found.append(Altered(name, about.version, file))
    return found


def _differing(site_packages: Path, record: Path) -> Iterator[str]:
    with record.open(newline="") as lines:
        for name, told, *_ in (row for row in csv.reader(lines) if len(row) > 1):
            algorithm, _, digest = told.partition("=")
            if digest and _digest(site_packages / name, algorithm) != digest:
                yield name


def _digest(path: Path, algorithm: str) -> str | None:
    """Return a file's digest as a RECORD writes it; None where the file is not there."""
    try:
        digest = hashlib.new(algorithm, path.read_bytes()).digest()
    except (OSError, ValueError):
        return None
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
