"""Hides secrets in whatever is written down: histories, witnesses, kept logs, messages.

What a secret looks like is guessed from what it is called and from its own form (`secret_names`,
`secret_forms`); values that are known to be secret, as a lab knows those that it made, are hidden
wherever they stand. Where there is a document, as Helm values are, `documents` hides by structure.
"""

import base64
import logging
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import groupby
from typing import Any
from urllib.parse import quote

from common.secret_forms import LONGEST, hide_forms, hide_private_keys
from common.secret_urls import MASK

CUT = 300
"""Characters; a log's text goes no longer than this into a history."""

MOST = 64
"""Values that are remembered, the latest; a long session meets many labs."""

_PIECE = 1 << 20
_TRIES = 64

_A_WORD = re.compile(r"[a-z]{0,11}|.{0,5}|/.*|\d+")
"""A known value of this form is not hunted for: a password `airflow` is in every line of a log."""

_BROKEN = re.compile(r"""(["'])\)?,?\n[ \t]*[-+?]?[ \t]*\1""")

_SHORT = 500
_of_short = lru_cache(maxsize=8192)(hide_forms)
"""For the same names and lines are written again and again."""

_remembered: dict[str, None] = {}


def remember(values: Iterable[str]) -> None:
    """Hide these values from now on wherever this process writes something down."""
    for value in values:
        _remembered.pop(value, None)
        _remembered[value] = None
    while len(_remembered) > MOST:
        del _remembered[next(iter(_remembered))]


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Hide tokens, passwords, keys and URLs' credentials in `text`, and all `known` values."""
    for value in _literally((*known, *_remembered)):
        if value in text:
            text = text.replace(value, MASK)
    return _of_short(text) if len(text) < _SHORT else hide_forms(text)


def redact_failure(text: str) -> str:
    """Redact what pytest shows of a failure, which hides what a secret belongs to.

    It puts an E before each line of a message, and breaks long strings at blanks.
    """
    shown = []
    for marked, group in groupby(hide_private_keys(text).split("\n"), key=_is_marked):
        whole = "\n".join(line[4:] if marked else line for line in group)
        joined = _BROKEN.sub("", whole)
        safe = redact(joined)
        lines = (redact(whole) if safe == joined else safe).split("\n")
        shown += [f"E   {line}" if marked else line for line in lines]
    return "\n".join(shown)


def _is_marked(line: str) -> bool:
    return line.startswith("E   ")


def redact_within(data: Any) -> Any:
    """Return plain data (of JSON, say) with every string in it redacted."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, dict):
        return {redact_within(key): redact_within(value) for key, value in data.items()}
    return [redact_within(each) for each in data] if isinstance(data, list | tuple) else data


class RedactingFormatter(logging.Formatter):
    """Formats a record as another formatter does, and hides the secrets in what comes of it."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def __getattr__(self, name: str) -> Any:
        """Be the other formatter in everything else."""
        return getattr(self.__dict__["_formatter"], name)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, with its traceback, redacted."""
        return redact(self._formatter.format(record))


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without secrets; its name if it says nothing."""
    return redact((str(error).strip().splitlines() or [type(error).__name__])[0])


def excerpt(text: str, limit: int = CUT) -> str:
    """Hide secrets and cut the text to `limit` characters."""
    text = redact(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def stream(
    read: Callable[[int], str], write: Callable[[str], object], known: Iterable[str] = ()
) -> None:
    """Copy a text of any length, redacted; in memory is never more than some megabytes of it.

    It is cut only where no secret is: each piece is looked at with what follows it.
    """
    values = tuple(known)
    held = ""
    while piece := read(_PIECE):
        held += piece
        cut = _cut(held, len(held) - LONGEST, values)
        write(redact(held[:cut], values))
        held = held[cut:]
    write(redact(held, values))


def _cut(text: str, limit: int, known: tuple[str, ...]) -> int:
    """Return where to cut, at most at `limit`: where the two parts read alone as they do together.

    At a line's end if possible, else between words.
    """
    cut = limit
    for _ in range(_TRIES if limit > 0 else 0):
        cut = max(text.rfind("\n", 0, cut), 0) or max(text.rfind(" ", 0, cut), 0)
        if cut <= 0:
            break
        begin = max(0, cut - LONGEST)
        before, after = text[begin : cut + 1], text[cut + 1 : cut + LONGEST]
        if redact(before, known) + redact(after, known) == redact(before + after, known):
            return cut + 1
    return limit if limit > 8 * _PIECE else 0


@lru_cache(maxsize=16)
def _literally(known: tuple[str, ...]) -> tuple[str, ...]:
    """Return what to look for: the values plain, as a part of a URL, and in base64, longest first.

    In base64 a value within something longer looks in three ways, by where it begins.
    """
    found = set()
    for value in known:
        if _A_WORD.fullmatch(value):
            continue
        found |= {value, quote(value, safe=""), repr(value)[1:-1]}
        whole = base64.b64encode(value.encode()).decode()
        found |= {whole, whole.rstrip("=")}
        for before in range(3):
            inner = base64.b64encode(b" " * before + value.encode()).decode().rstrip("=")
            inner = inner[2 * (before > 0) + (before == 2) : -1]
            found |= {inner} if len(inner) >= 10 else set()
    return tuple(sorted(found, key=len, reverse=True))
