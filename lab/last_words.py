"""The last that a process wrote before it ended."""

import re
from datetime import datetime
from pathlib import Path

from lab.base import ProcessEnd

_TAIL = 16_384
_LINES = 80
_LENGTH = 300
# The line of a traceback that names the exception; SQLAlchemy's go on for some lines after it.
_EXCEPTION = re.compile(r"(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Timeout)\b")


def last_words(log: Path) -> str:
    """Return one line: the last that names an exception, or the last of all; empty where none is.

    An exception counts only near the end: what came long before was outlived.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()][-_LINES:]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or [""])[-1][:_LENGTH]


def told_end(end: ProcessEnd) -> str:
    """Say that a daemon ended by itself, when, and how, for `status`."""
    at = datetime.fromtimestamp(end.at).strftime("%H:%M:%S")
    how = f" ({end.last_words})" if end.last_words else ""
    back = "and was started again" if end.again else "and is not back"
    return f"{end.process} ENDED by itself with {end.exit_code} at {at}, {back}{how}"
