"""The decision for a terminal: a table, and the answer in the last line."""

import os
import shutil
import textwrap
from collections.abc import Iterator
from typing import TextIO

from reports.gate.decision import ORDER, Decision, Row, Standing, Status

_COLOURS: dict[Status, str] = {
    "fail": "\x1b[31m",
    "unknown": "\x1b[33m",
    "accepted": "\x1b[36m",
    "pass": "\x1b[32m",
}
_SUM: dict[Standing, Status] = {
    "safe": "pass",
    "accepted risks": "accepted",
    "not safe": "fail",
    "cannot tell": "unknown",
}
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_NARROWEST, _WIDEST = 80, 160
_STATUS, _CHECK = 9, 14


def write(decision: Decision, out: TextIO, quiet: bool = False) -> None:
    """Print the findings, what decides last and next to the answer; quiet: the answer alone.

    Colours only on a terminal, and not where NO_COLOR is set.
    """
    colour = out.isatty() and not os.environ.get("NO_COLOR")
    width = min(_WIDEST, max(_NARROWEST, shutil.get_terminal_size((120, 24)).columns))
    if not quiet:
        rows = sorted(decision.checks, key=lambda row: ORDER.index(row.status), reverse=True)
        out.writelines(f"{line}\n" for line in _table(rows, width, colour))
        out.write("\n")
    sentence = decision.sentence
    shown = f"{_BOLD}{_COLOURS[_SUM[decision.standing]]}{sentence}{_PLAIN}"
    out.write(f"{shown if colour else sentence}\n")


def _table(rows: list[Row], width: int, colour: bool) -> Iterator[str]:
    """Lay out the rows: a finding begins a line of its own, what passed is kept short."""
    indent = " " * (_STATUS + _CHECK)
    for row in rows:
        status = row.status.ljust(_STATUS)
        shown = f"{_COLOURS[row.status]}{status}{_PLAIN}" if colour else status
        told = [row.subject, row.detail]
        paragraphs = [": ".join(told)] if row.status == "pass" else told
        lines = [line for text in paragraphs for line in _wrapped(text, width - len(indent))]
        yield f"{shown}{row.check.ljust(_CHECK)}{lines[0]}"
        yield from (f"{indent}{line}" for line in lines[1:])


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
