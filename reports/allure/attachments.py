"""Takes attachments into the report: text redacted once more, and none so long that it hurts.

Whoever wrote an attachment has redacted it already. A report is what leaves the house, so every
text goes through it again. Binary files and pages are copied: the latter are drawn by us from
redacted histories, and what looks like a secret there (`token=` in a script) is part of a program.
"""

import shutil
from pathlib import Path
from typing import BinaryIO

from common.redaction import redact

LONGEST = 4 * 1024 * 1024
"""Bytes; a longer text keeps its head and its tail, for no browser shows it in one piece."""

END = 512 * 1024
"""Bytes of the head, and of the tail, of a text that is too long."""

_SNIFFED = 8192
"""Bytes; a file that has no zero among the first of them is text, whatever it is called."""

_PAGES = (".html", ".svg")


def take(source: Path, target: Path, kind: str = "") -> bool:
    """Copy an attachment; tell whether all of it was taken.

    `kind` is its media type, where that is known. Never holds more than LONGEST in memory.
    """
    if not is_text(source, kind):
        shutil.copyfile(source, target)
        return True
    size = source.stat().st_size
    with source.open("rb") as file, target.open("w", encoding="utf-8") as staged:
        if size <= LONGEST:
            staged.write(redact(file.read().decode(errors="replace")))
            return True
        head, tail = _head(file), _tail(file, size)
        left_out = size - len(head) - len(tail)
        where = "/".join(source.parts[-3:])
        staged.write(redact(head.decode(errors="replace")))
        staged.write(f"\n... {left_out / 1e6:.1f} MB are left out here; the whole is {where} ...\n")
        staged.write(redact(tail.decode(errors="replace")))
    return False


def is_text(source: Path, kind: str) -> bool:
    """Tell whether an attachment is text that people read; its name may say anything."""
    if kind in ("text/html", "image/svg+xml") or source.suffix.lower() in _PAGES:
        return False
    with source.open("rb") as file:
        return b"\0" not in file.read(_SNIFFED)


def _head(file: BinaryIO) -> bytes:
    """Read the beginning, up to the end of a line: half a secret is not seen to be one."""
    head = file.read(END)
    return head[: head.rfind(b"\n") + 1]


def _tail(file: BinaryIO, size: int) -> bytes:
    """Read the end, from the beginning of a line on."""
    file.seek(size - END)
    tail = file.read(END)
    begin = tail.find(b"\n") + 1
    return tail[begin:] if begin else b""
