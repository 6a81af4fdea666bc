"""Where results go: beside a schedule, or into a folder that explorations share."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import UserError

_OURS = frozenset({"schedule.yaml", "history.ndjson", "finds"})
"""What a folder of results has, and nothing else but a batch that was killed."""


@contextmanager
def beside(file: Path, name: str, wanted: str) -> Iterator[Path]:
    """Lend an empty folder that takes the place of `name` beside a file once `wanted` is in it.

    Earlier results stay there until then. Raises UserError for a folder that has something else in
    it, and where nothing can be written.
    """
    folder = file.parent / name
    if folder.exists() and not _is_ours(folder):
        raise UserError(
            f"{folder} is in the way: an exploration did not make it.", "Move it somewhere else."
        )
    building = writable(folder.with_name(f".{name}.new"))
    with alone(building):
        empty(building)
        try:
            yield building
        finally:
            if (building / wanted).exists():
                shutil.rmtree(folder, ignore_errors=True)
                building.rename(folder)
            shutil.rmtree(building, ignore_errors=True)


def empty(folder: Path) -> None:
    """Remove all that is in a folder."""
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one that keeps results in a folder; UserError at once where somebody else does.

    The lock is on the folder itself, and ends with this process, by SIGKILL too.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(
            f"Another process explores into {folder}.", "Wait until it has ended."
        ) from None
    finally:
        os.close(descriptor)


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and all(
        each.name in _OURS or each.name.startswith("batch-") for each in folder.iterdir()
    )


def writable(folder: Path) -> Path:
    """Return a folder that is there, made where it is not; UserError for one that is of no use."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} cannot be written to.", "Give another, or mend its mode.")
    return folder
