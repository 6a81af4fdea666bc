"""The verdict table: a row a test, a column an Airflow; as wide as the terminal, and no wider."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

_STYLES = {
    **dict.fromkeys(("valid", "passed"), "green"),
    **dict.fromkeys(("invalid", "failed", "crashed"), "red"),
    **dict.fromkeys(("unknown", "broken", "not run"), "yellow"),
}
_GAP = 2
_NARROWEST = 16
_MANY = 3
_UNLIMITED = 10_000
"""Columns of an output that is no terminal: nothing is cut there."""


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

    def render(self, width: int | None, *, colour: bool) -> str:
        """Return the table, and why what is not known is not; `width` None for no terminal."""
        width = width or _UNLIMITED
        output = StringIO()
        console = Console(
            file=output,
            width=width,
            height=1,
            force_terminal=colour,
            color_system="standard" if colour else None,
        )
        for columns in self._blocks(width):
            console.print(self._block(columns))
        if any(cell and cell.count for cells in self._rows.values() for cell in cells):
            console.print("(violations/task instances)", highlight=False)
        for line in self._reasons():
            console.print(Text(line), no_wrap=True, overflow="ellipsis")
        return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())

    def _blocks(self, width: int) -> Iterator[list[int]]:
        """Divide the columns into as many tables, one below the other, as the width asks for."""
        block: list[int] = []
        for column in range(len(self._columns)):
            if block and self._taken([*block, column]) > width - _NARROWEST:
                yield block
                block = []
            block.append(column)
        yield block

    def _taken(self, columns: Iterable[int]) -> int:
        """Return how wide some columns are, with the gap before each."""
        wide = 0
        for column in columns:
            cells = [_text(row[column]) for row in self._rows.values()]
            wide += _GAP + max(map(cell_len, (self._columns[column], *map(str, cells))))
        return wide

    def _block(self, columns: list[int]) -> RichTable:
        """Lay out some columns; what has not enough room is broken, and nothing is left out."""
        single = len(self._columns) == 1
        table = RichTable(
            Column(overflow="fold"),
            *(Column(Text(self._columns[column]), no_wrap=True) for column in columns),
            box=None,
            padding=(0, _GAP, 0, 0),
            pad_edge=False,
            header_style="",
            show_header=not single,
        )
        for test, cells in self._rows.items():
            broken = (Text(cell.broken) for cell in cells if cell and single)
            table.add_row(Text(test), *(_text(cells[column]) for column in columns), *broken)
        return table

    def _reasons(self) -> Iterator[str]:
        """Say why a test shows nothing: a line each, but one for many that share a reason."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for test, cells in self._rows.items():
            for column, cell in zip(self._columns, cells, strict=True):
                if cell and cell.reason and cell.word != "skipped":
                    where = f"{test} on {column}" if column else test
                    found[cell.word, cell.reason].append(where)
        for (word, reason), tests in found.items():
            if len(tests) > _MANY:
                yield f"{word}, {len(tests)} of them: {reason}"
            else:
                yield from (f"{word}: {test}: {reason}" for test in tests)


def _text(cell: Cell | None) -> Text:
    """Return a cell's word in its colour, and its count."""
    if cell is None:
        return Text("-")
    text = Text(f"{cell.word:<8} {cell.count}" if cell.count else cell.word)
    text.stylize(_STYLES.get(cell.word, ""), 0, len(cell.word))
    return text
