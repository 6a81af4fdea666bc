"""Puts a folder in the place of an older one, whole or not at all.

The new site is built beside the old one and swapped in by one system call, so that whoever kills
the build, or reads the site meanwhile, has the old one whole or the new one whole.
"""

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from common.errors import UserError

MARK = "site.json"
"""Tells a folder that we wrote from one that we must not overwrite."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give an empty folder to build in, which takes `out`'s place when the block ends well.

    Removes what killed builds left beside `out`. Raises UserError when `out` is something other
    than a site of ours, or cannot be written.
    """
    out = out.resolve()
    _refuse_foreign(out)
    building = out.parent / f".{out.name}.building-{os.getpid()}"
    try:
        _sweep(out)
        building.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        yield building
        _put(building, out)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EPERM):
            raise _unwritable(out, error) from error
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def mark(folder: Path, runs: int) -> None:
    """Sign a site as ours, so that the next build may replace it."""
    (folder / MARK).write_text(json.dumps({"site": "airflow-ha-chaos", "runs": runs}) + "\n")


def _unwritable(out: Path, error: OSError) -> UserError:
    return UserError(f"{out} cannot be written: {error.strerror}.", "Choose another with --out.")


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is not a folder.", "Choose another with --out.")
    try:
        foreign = not (out / MARK).exists() and any(out.iterdir())
    except OSError as error:
        raise _unwritable(out, error) from None
    if foreign:
        raise UserError(
            f"{out} holds something other than a report, and would be replaced.",
            "Choose another folder with --out, or remove it.",
        )


def _sweep(out: Path) -> None:
    """Remove the halves of builds whose process is gone; give back what one had put aside."""
    for half in out.parent.glob(f".{out.name}.building-*"):
        if half.name.endswith("-old") and not out.exists():
            half.rename(out)
            continue
        pid = half.name.rpartition("-")[2]
        if not pid.isdigit() or int(pid) == os.getpid() or not psutil.pid_exists(int(pid)):
            shutil.rmtree(half)


def _put(building: Path, out: Path) -> None:
    if not out.exists():
        building.rename(out)
    elif not _exchange(building, out):
        aside = building.with_name(f".{out.name}.building-{os.getpid()}-old")
        out.rename(aside)
        building.rename(out)
        shutil.rmtree(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system has no such call."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    paths = os.fsencode(one), _AT_FDCWD, os.fsencode(other)
    return rename is not None and rename(_AT_FDCWD, *paths, _RENAME_EXCHANGE) == 0
