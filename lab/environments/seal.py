"""Whether an environment is what was published, and later still is what was installed.

uv installs from its cache, and other installers may have linked the same files into other
environments: an edit there is an edit in the cache. So what was installed is compared with the
RECORD that each wheel brings (`altered`).

People try a fix by typing it into an installed package. An environment in which that was done is
no longer what its name says, and a verdict found in it would be another Airflow's; so what was
installed is written down as it is made (`seal`), and compared before a session believes it
(`difference`).

Airflow's own files are read each time. Of the others (some 20,000) the size and the time of the
last change of the inode, which no program can set, are compared, and only where these differ the
contents, as after a cache was packed and unpacked.
"""

import base64
import csv
import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path, PurePosixPath

import msgspec
from packaging.utils import canonicalize_name

log = logging.getLogger(__name__)

SEAL = "seal.json"
"""The file in an environment that lists what else is in it."""

_NOT_SEALED = (SEAL, ".lock")
_AIRFLOWS_OWN = re.compile(r"(^|/)(airflow/|apache_airflow[^/]*/)")
# Python writes it under a name with a number first, and moves it into its place.
_BYTECODE = re.compile(r"(.*/)?__pycache__/([^/.]+)\.[^/]*\.pyc(\.\d+)?")

_LOOKS = 5
"""Times that a folder is looked at in which files vanish meanwhile: what runs from it writes its
bytecode, and others who look remove that."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One file or link: bytes, change of its inode in unix nanoseconds, SHA-256 of its contents."""

    size: int
    changed: int
    digest: str


def seal(folder: Path) -> None:
    """Write down what is in a folder."""
    found = {name: _entry(path, status) for name, path, status in _files(folder)}
    (folder / SEAL).write_bytes(msgspec.json.encode(found))


def difference(folder: Path) -> str:
    """Return the first file that is not as it was sealed, empty when all are.

    A file that was added differs as well: a module, a .pth or a sitecustomize changes what runs.
    Bytecode beside a source that is as it was is no difference: where it is not the bytecode that
    was sealed it is removed, and Python makes it again from the source.
    """
    try:
        sealed = msgspec.json.decode((folder / SEAL).read_bytes(), type=dict[str, Entry])
    except (OSError, msgspec.MsgspecError):
        return SEAL
    vanished = ""
    for _ in range(_LOOKS):
        try:
            return _difference(folder, sealed)
        except FileNotFoundError as error:
            vanished = str(error.filename)
        except OSError as error:
            return str(error.filename)
    return vanished


def _difference(folder: Path, sealed: dict[str, Entry]) -> str:
    missing = {name for name in sealed if not _BYTECODE.fullmatch(name)}
    for name, path, status in _files(folder):
        missing.discard(name)
        known = sealed.get(name)
        if known is not None and _same(name, path, status, known):
            continue
        if not (_source(name) in sealed and _removed(path)):
            return name
    return min(missing, default="")


def _files(folder: Path, under: str = "") -> Iterator[tuple[str, Path, os.stat_result]]:
    """Go through all files and links: the name within the folder, the path, what stat says."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            name = f"{under}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path), f"{name}/")
            elif name not in _NOT_SEALED:
                yield name, Path(entry.path), entry.stat(follow_symlinks=False)


def _entry(path: Path, status: os.stat_result) -> Entry:
    return Entry(status.st_size, status.st_ctime_ns, _digest(path))


def _same(name: str, path: Path, status: os.stat_result, known: Entry) -> bool:
    if status.st_size != known.size:
        return False
    if status.st_ctime_ns == known.changed and not _AIRFLOWS_OWN.search(name):
        return True
    return _digest(path) == known.digest


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file's contents, of a link's the place that it leads to."""
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _source(name: str) -> str | None:
    """Return the source file of a file that is bytecode Python looks for; None of any other."""
    found = _BYTECODE.fullmatch(name)
    return str(PurePosixPath(found[1] or "", f"{found[2]}.py")) if found else None


def _removed(path: Path) -> bool:
    log.debug("Removing bytecode that was not made with the environment: %s", path)
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


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
        """Return whether it is Airflow or one of its providers."""
        return self.name.startswith("apache-airflow")


def altered(site_packages: Path, besides: frozenset[str] = frozenset()) -> list[Altered]:
    """Return the distributions whose files are not those of their wheels, but for `besides`.

    A file of which a RECORD has no digest (RECORD itself) is not looked at. Of one that several
    have, as fastapi and fastapi-cli both have bin/fastapi, any may be right: the last one wins.
    """
    paths = sorted(site_packages.glob("*.dist-info/RECORD"))
    records = {path: dict(_digests(path)) for path in paths}
    right: dict[str, set[str]] = defaultdict(set)
    for digests in records.values():
        for file, digest in digests.items():
            right[file].add(digest)
    found = []
    for path, digests in records.items():
        wrong = [file for file in digests if not _vouched(site_packages / file, right[file])]
        about = PathDistribution(path.parent)
        name = canonicalize_name(str(about.metadata["Name"]))
        if wrong and name not in besides:
            found.append(Altered(name, about.version, wrong[0]))
    return found


def _digests(record: Path) -> Iterator[tuple[str, str]]:
    """Go through the files of a RECORD that have a digest, such as sha256=47DEQpj8HBSa-_TImW-5J."""
    with record.open(newline="") as lines:
        for name, digest, *_ in (row for row in csv.reader(lines) if len(row) > 1):
            if digest:
                yield name, digest


def _vouched(path: Path, digests: set[str]) -> bool:
    return any(_record_digest(path, each.partition("=")[0]) == each for each in digests)


def _record_digest(path: Path, algorithm: str) -> str | None:
    """Return a file's digest as a RECORD writes it; None where the file is not there."""
    try:
        digest = hashlib.new(algorithm, path.read_bytes()).digest()
    except (OSError, ValueError):
        return None
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
