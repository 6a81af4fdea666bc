"""What a finished environment holds, file by file, and whether it still does.

People try a fix by typing it into an installed package. An environment in which that was done is
no longer what its name says, and a verdict found in it would be another Airflow's; so what was
installed is written down as it is made, and compared before a session believes it.

Airflow's own files are read each time. Of the others (some 20,000) the size and the time of the
last change of the inode, which no program can set, are compared, and only where these differ the
contents, as after a cache was packed and unpacked.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

log = logging.getLogger(__name__)

SEAL = "seal.json"
"""The file in an environment that tells what else is in it."""

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
