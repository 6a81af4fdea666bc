"""Files that several processes share: written whole or not at all, made once, read at the end."""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import UserError

log = logging.getLogger(__name__)

_HOUR = 3600.0

_TAIL = 65_536
_TAIL_LINES = 80
_LINE_LENGTH = 300
# The line of a traceback that names the exception; SQLAlchemy's go on for some lines after it.
_EXCEPTION = re.compile(r"(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Timeout)\b")


def reason(error: OSError) -> str:
    """Return why an OSError was raised, of a failed `copytree` the first of its many reasons."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return str(error)


@contextmanager
def whole(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Lend an empty file beside `path`; it takes the place of `path` at the end, or vanishes.

    So no other process reads half of it, and a writer that fails or is killed changes nothing.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    building = Path(name)
    try:
        building.chmod(mode)
        yield building
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, mode: int = 0o644) -> Path:
    """Write a file whole or not at all, text as UTF-8; return its path."""
    with whole(path, mode) as building:
        building.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Lend a name of `path` that fits into a socket's address, 107 bytes, wherever its folder is.

    By way of the descriptors of this process, whose folder Linux shows under /proc.
    """
    descriptor = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


@contextmanager
def alone(lock: Path, doing: str, limit: float = _HOUR) -> Iterator[None]:
    """Be the only process that is `doing` something ("making 3.0.6"); others wait, and log that.

    Raises UserError when the lock is not to be had within `limit` seconds.
    """
    held = FileLock(lock)
    try:
        held.acquire(timeout=0.5)
    except Timeout:
        log.info("Another process is %s; waiting for it.", doing)
        try:
            held.acquire(timeout=limit, poll_interval=0.1)
        except Timeout:
            raise UserError(
                f"Another process has been {doing} for {limit / 60:.0f} minutes.",
                f"Find who holds {lock} and end it, then run this again.",
            ) from None
    try:
        yield
    finally:
        held.release()


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder `target`; where it is not there, `make` fills one that becomes it.

    Several processes may ask at once: one makes it, the others wait. What a killed or failed
    maker leaves is swept up by the next. Raises UserError where files cannot be made there.
    """
    with alone(target.with_name(f"{target.name}.lock"), f"making {target.name}"):
        if not target.exists():
            building = target.with_name(f"{target.name}.building")
            shutil.rmtree(building, ignore_errors=True)
            try:
                make(building)
                building.rename(target)
            except OSError as error:
                raise UserError(
                    f"{target.name} could not be made in {target.parent}: {reason(error)}",
                    "See that its disk has room, and that you can write there.",
                ) from error
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return target


def ends(path: Path, most: int) -> tuple[str, int, str]:
    """Return a long file's head and tail, of `most` bytes each, and between them what is left out.

    Whole lines, for half a secret is not seen to be one; what is left out is a number of bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(most)
        file.seek(size - most)
        tail = file.read(most)
    head = head[: head.rfind(b"\n") + 1]
    tail = tail[tail.find(b"\n") + 1 :] if b"\n" in tail else b""
    left_out = size - len(head) - len(tail)
    return head.decode(errors="replace"), left_out, tail.decode(errors="replace")


def last_line(text: str, otherwise: str = "it wrote nothing") -> str:
    """Return the last line of what a program wrote, which is where it says why it failed."""
    return (text.strip().splitlines() or [otherwise])[-1].strip()


def last_words(log: Path) -> str:
    """Return why a program ended, in one line of its log: the last that names an exception.

    Else the last of all, and nothing where none is. An exception counts only near the end: what
    came long before was outlived.
    """
    lines = _tail(log, 0)[-_TAIL_LINES:]
    return (_exceptions(lines) or lines or [""])[-1][:_LINE_LENGTH]


def last_exception(log: Path, since: int) -> str:
    """Return the last line that names an exception after the first `since` bytes; or nothing."""
    return (_exceptions(_tail(log, since)) or [""])[-1][:_LINE_LENGTH]


def _tail(log: Path, since: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(since, log.stat().st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _exceptions(lines: list[str]) -> list[str]:
    return [line for line in lines if _EXCEPTION.match(line)]
