"""Where finished environments are kept, and how one is made once by many processes.

A folder that has its final name is complete: it is built under another name beside, tried out
there, and renamed. A build that was killed leaves only a `.build-*` folder, which the next build
removes; that is why virtual environments are made relocatable. A folder in which anything was
changed since is not believed, and made again.
"""

import errno
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common.errors import UserError
from common.files import alone, reason
from common.paths import cache_folder
from lab.environments import seal

log = logging.getLogger(__name__)

DISK_NEEDED = 2 * 1024**3
"""Bytes: an environment is 210 to 290 MB, its bytecode and uv's own cache as much again."""

DISK_FULL = 16 * 1024**2
"""Bytes below which a failure is laid to the full disk, whatever it says of itself."""

KEEP_UNUSED = 7 * 86400.0
"""Seconds after which what nobody asked for is removed: each edit of a checkout leaves 40 MB."""

LOCK_LIMIT = 3600.0
"""Seconds to wait for another process that makes the same environment."""

_OPTIONS = ".options-"


def environments_dir() -> Path:
    """Return the folder that holds the environments, one folder a key."""
    return cache_folder("environments")


def made(key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of `key`, calling `build(folder)` first if nobody has made it yet.

    So also where a file in it is not as it was made, which a line says: what still runs from it
    loses its ground, and was not what it seemed. A key is a family and a digest, joined by a
    dash; of a family one is built at a time. Safe for several processes: one builds, the others
    wait for it. Raises UserError without 2 GB of free disk, or when the other process takes over an
    hour; what `build` raises passes, and leaves nothing behind.
    """
    path = environments_dir() / key
    if not path.is_dir() or seal.difference(path):
        family = key.rpartition("-")[0] or key
        with alone(environments_dir() / f".{family}.lock", f"making {family}", LOCK_LIMIT):
            other = seal.difference(path) if path.is_dir() else ""
            if other:
                log.info("Making %s again: %s is not as it was installed.", key, other)
            if other or not path.is_dir():
                _sweep(family)
                _build(path, build)
    os.utime(path)
    return path


def options_file(key: str) -> Path:
    """Return where the names of an environment's options are kept: beside it, for it is sealed."""
    return environments_dir() / f"{_OPTIONS}{key}.json"


def folders() -> list[Path]:
    """Return the finished environments, by name."""
    return sorted(path for path in environments_dir().glob("[!.]*") if path.is_dir())


def folder_size(path: Path) -> int:
    """Return the bytes of disk under `path`."""
    found = (each.lstat() for each in path.rglob("*"))
    return sum(status.st_size for status in found if not stat.S_ISDIR(status.st_mode))


def _build(path: Path, build: Callable[[Path], None]) -> None:
    """Build beside `path` and rename, so that a folder with the final name is complete."""
    require_disk(path.parent)
    folder = Path(tempfile.mkdtemp(prefix=f".build-{path.name}-", dir=path.parent))
    folder.chmod(0o755)
    try:
        build(folder)
        seal.seal(folder)
        if path.is_dir():
            path.rename(_aside(folder))
        folder.rename(path)
    except OSError as error:
        if error.errno == errno.ENOSPC or shutil.disk_usage(path.parent).free < DISK_FULL:
            raise _no_space(path.parent) from None
        raise UserError(
            f"Could not make {path.name}: {reason(error)}",
            f"Check that what it is made of can be read, and {path.parent} written.",
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(_aside(folder), ignore_errors=True)


def _aside(folder: Path) -> Path:
    """Return where what a build takes the place of is moved; swept up like the build itself."""
    return folder.with_name(f"{folder.name}.old")


def require_disk(path: Path) -> None:
    """Raise UserError unless the disk of `path` has room for one more environment."""
    if shutil.disk_usage(path).free < DISK_NEEDED:
        raise _no_space(path)


def _no_space(path: Path) -> UserError:
    free = shutil.disk_usage(path).free / 1024**3
    return UserError(
        f"The disk of {path} has {free:.1f} GB free; an Airflow environment needs "
        f"{DISK_NEEDED / 1024**3:.0f} GB.",
        "Free some, or set HA_CHAOS_CACHE to a folder on another disk.",
    )


def _sweep(family: str) -> None:
    """Remove what killed builds of the family left, and what nobody uses any more."""
    for folder in environments_dir().glob(f".build-{family}-*"):
        log.info("Removing the remains of an unfinished build of %s.", family)
        shutil.rmtree(folder, ignore_errors=True)
    for folder in folders():
        if time.time() - folder.stat().st_mtime > KEEP_UNUSED:
            log.info("Removing %s, unused for %d days.", folder.name, KEEP_UNUSED // 86400)
            shutil.rmtree(folder, ignore_errors=True)
    for file in environments_dir().glob(f"{_OPTIONS}*.json"):
        if not (environments_dir() / file.stem.removeprefix(_OPTIONS)).is_dir():
            file.unlink(missing_ok=True)
