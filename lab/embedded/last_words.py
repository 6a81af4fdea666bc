"""The last that a process wrote before it ended."""

import re
from datetime import datetime
from pathlib import Path

from lab.base import ProcessEnd

_TAIL = 65_536
_LINES = 80
_LENGTH = 300
# The line of a traceback that names the exception; SQLAlchemy's go on for some lines after it.
_EXCEPTION = re.compile(r"(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Timeout)\b")


def last_words(log: Path) -> str:
    """Return one line: the last that names an exception, or the last of all; empty where none is.

    An exception counts only near the end: what came long before was outlived.
    """
    lines = _tail(log, 0)[-_LINES:]
    return (_exceptions(lines) or lines or [""])[-1][:_LENGTH]


def last_exception(log: Path, since: int) -> str:
    """Return the last line that names an exception after the first `since` bytes; or nothing."""
    return (_exceptions(_tail(log, since)) or [""])[-1][:_LENGTH]


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


def told_end(end: ProcessEnd) -> str:
    """Say that a daemon ended by itself, when, and how, for `status`."""
    at = datetime.fromtimestamp(end.at).strftime("%H:%M:%S")
    how = f" ({end.last_words})" if end.last_words else ""
    back = "and was started again" if end.again else "and is not back"
    return f"{end.process} ENDED by itself with {end.exit_code} at {at}, {back}{how}"
