"""The verdict table: a row a test, a column an Airflow; as wide as the terminal, and no wider."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_COLOURS: dict[str, dict[str, bool]] = {
    "valid": {"green": True},
    "passed": {"green": True},
    "invalid": {"red": True},
    "failed": {"red": True},
    "crashed": {"red": True},
    "unknown": {"yellow": True},
    "broken": {"yellow": True},
    "not run": {"yellow": True},
}
_GAP = 2
_NARROWEST = 16
_MANY = 3


@dataclass(frozen=True)
class Cell:
    """What became of one test on one Airflow.

    `word` is its verdict, or how it ended without one; `count` the violations and the task
    instances; `broken` names what was broken, `reason` says why nothing is known.
    """

    word: str
    count: str = ""
    broken: str = ""
    reason: str = ""


class Table:
    """Tests by Airflows; a single Airflow needs no heading, and has room for more words."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._rows: dict[str, list[Cell | None]] = {}

    def put(self, column: int, test: str, cell: Cell) -> None:
        """Fill a cell."""
        self._rows.setdefault(test, [None] * len(self._columns))[column] = cell

    def write(self, terminal: Any) -> None:
        """Write the table, and why what is not known is not; colours where the terminal has any."""
        width = _width(terminal)
        for columns in self._blocks(width):
            self._write_block(terminal, columns, width)
        if any(cell and cell.count for cells in self._rows.values() for cell in cells):
            terminal.write_line("(violations/task instances)")
        for line in self._reasons():
            terminal.write_line(clip(line, width))

    def _blocks(self, width: int | None) -> Iterator[list[int]]:
        """Divide the columns into as many tables, one below the other, as the width asks for."""
        room = (width or sys.maxsize) - _NARROWEST
        block: list[int] = []
        for column in range(len(self._columns)):
            if block and sum(self._wide(each) + _GAP for each in [*block, column]) > room:
                yield block
                block = []
            block.append(column)
        yield block

    def _wide(self, column: int) -> int:
        """Return how wide a column is: a word, a gap, a count."""
        cells = (len(_plain(row[column])) for row in self._rows.values())
        return max(len(self._columns[column]), *cells)

    def _write_block(self, terminal: Any, columns: list[int], width: int | None) -> None:
        longest = max(map(len, self._rows), default=0)
        taken = sum(self._wide(column) + _GAP for column in columns)
        names = longest if width is None else min(longest, max(_NARROWEST, width - taken))
        if len(self._columns) > 1:
            heads = (f"{self._columns[column]:<{self._wide(column)}}" for column in columns)
            terminal.write_line((" " * (names + _GAP) + (" " * _GAP).join(heads)).rstrip())
        for test, cells in self._rows.items():
            terminal.write(f"{clip(test, names):<{names}}")
            for column in columns:
                wide = self._wide(column) if column != columns[-1] else 0
                _write_cell(terminal, cells[column], wide)
            if len(cells) == 1 and cells[0] and cells[0].broken:
                used = names + _GAP + len(_plain(cells[0])) + _GAP
                room = None if width is None else max(1, width - used)
                terminal.write(" " * _GAP + clip(cells[0].broken, room))
            terminal.write_line("")

    def _reasons(self) -> list[str]:
        """Say why a test tells nothing: a line each, but one for many that share a reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for test, cells in self._rows.items():
            for column, cell in zip(self._columns, cells, strict=True):
                if cell and cell.reason and cell.word != "skipped":
                    where = f"{test}{f' on {column}' if column else ''}"
                    found.setdefault((cell.word, cell.reason), []).append(where)
        return [
            line
            for (word, reason), tests in found.items()
            for line in (
                [f"{word}, {len(tests)} of them: {reason}"]
                if len(tests) > _MANY
                else [f"{word}: {test}: {reason}" for test in tests]
            )
        ]


def clip(text: str, width: int | None) -> str:
    """Cut a text to a width; None for as it is, where no terminal is there to fit."""
    if width is None or len(text) <= width:
        return text
    return text[: max(0, width - 1)] + "…"


def _write_cell(terminal: Any, cell: Cell | None, wide: int) -> None:
    word = cell.word if cell else "-"
    terminal.write(" " * _GAP)
    terminal.write(word, **_COLOURS.get(word, {}))
    terminal.write(_plain(cell)[len(word) :].ljust(wide - len(word)))


def _plain(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.word:<8} {cell.count}".rstrip() if cell.count else cell.word


def _width(terminal: Any) -> int | None:
    """Return the terminal's width, None where the output goes elsewhere."""
    return int(terminal._tw.fullwidth) if terminal.isatty else None
