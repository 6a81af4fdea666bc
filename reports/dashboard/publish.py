"""Puts a folder in the place of an older one, whole or not at all.

The new site is built beside the old one, which is then renamed out of its way: whoever kills the
build has the old one whole or the new one whole. Between the two renames there is no site: a reader
may miss it for a moment, and where the build is killed just then, the next one puts the old site
back.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from common.errors import UserError

MARK = "site.json"
"""Tells a folder that we wrote from one that we must not overwrite."""

_ASIDE = "-old"
_UNWRITABLE = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EPERM)


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
        if error.errno in _UNWRITABLE:
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
    """Remove what builds left whose process is gone; give back what one of them had put aside."""
    for left in out.parent.glob(f".{out.name}.building-*"):
        pid = left.name.removesuffix(_ASIDE).rpartition("-")[2]
        if pid.isdigit() and int(pid) != os.getpid() and psutil.pid_exists(int(pid)):
            continue
        if left.name.endswith(_ASIDE) and not out.exists():
            left.rename(out)
        else:
            shutil.rmtree(left)


def _put(building: Path, out: Path) -> None:
    aside = building.with_name(f"{building.name}{_ASIDE}")
    if out.exists():
        out.rename(aside)
    building.rename(out)
    shutil.rmtree(aside, ignore_errors=True)
