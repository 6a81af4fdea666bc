"""Whether what is installed is what its wheels hold, by the RECORD that each wheel brings.

uv installs from its cache, and other installers may have linked the same files into other
environments: an edit there is an edit in the cache, and what is then installed from it is no
longer what was published.
"""

import base64
import csv
import hashlib
from collections import defaultdict
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

    A file of which a RECORD has no digest (RECORD itself) is not looked at. Of one that several
    have, as fastapi and fastapi-cli both have bin/fastapi, any may be right: the last one wins.
    """
    records = {path: dict(_told(path)) for path in sorted(site_packages.glob("*.dist-info/RECORD"))}
    right: dict[str, set[str]] = defaultdict(set)
    for told in records.values():
        for file, digest in told.items():
            right[file].add(digest)
    found = []
    for path, told in records.items():
        wrong = [file for file in told if not _vouched(site_packages / file, right[file])]
        about = PathDistribution(path.parent)
        name = canonicalize_name(str(about.metadata["Name"]))
        if wrong and name not in besides:
            found.append(Altered(name, about.version, wrong[0]))
    return found


def _told(record: Path) -> Iterator[tuple[str, str]]:
    """Go through the files of a RECORD that have a digest, such as sha256=47DEQpj8HBSa-_TImW-5J."""
    with record.open(newline="") as lines:
        for name, digest, *_ in (row for row in csv.reader(lines) if len(row) > 1):
            if digest:
                yield name, digest


def _vouched(path: Path, digests: set[str]) -> bool:
    return any(_digest(path, told.partition("=")[0]) == told for told in digests)


def _digest(path: Path, algorithm: str) -> str | None:
    """Return a file's digest as a RECORD writes it; None where the file is not there."""
    try:
        digest = hashlib.new(algorithm, path.read_bytes()).digest()
    except (OSError, ValueError):
        return None
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
