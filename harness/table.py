"""The verdict table: a row a test, a column an Airflow; as wide as the terminal, and no wider."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.table import Table as RichTable
from rich.text import Text

from reports.terminal import UNLIMITED, grid, rendered

_STYLES = {
    **dict.fromkeys(("valid", "passed"), "green"),
    **dict.fromkeys(("invalid", "failed", "crashed"), "red"),
    **dict.fromkeys(("unknown", "broken", "not run"), "yellow"),
}
_GAP = 2
_NARROWEST = 16
_MANY = 3


@dataclass(frozen=True)
class VerdictCell:
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
        self._rows: dict[str, list[VerdictCell | None]] = {}

    def put(self, column: int, test: str, cell: VerdictCell) -> None:
        """Fill a cell."""
        self._rows.setdefault(test, [None] * len(self._columns))[column] = cell

    def render(self, width: int | None, *, colour: bool) -> str:
        """Return the table, and why what is not known is not; `width` None for no terminal."""
        width = width or UNLIMITED
        blocks = self._blocks(width)
        text = "".join(rendered(self._block(each), colour=colour, width=width) for each in blocks)
        lines = [*self._reasons()]
        if any(cell and cell.count for cells in self._rows.values() for cell in cells):
            lines.insert(0, "(violations/task instances)")
        return text + "".join(f"{_clipped(line, width)}\n" for line in lines)

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
        table = grid(_GAP)
        table.show_header, table.header_style = not single, ""
        table.add_column(overflow="fold")
        for column in columns:
            table.add_column(Text(self._columns[column]), no_wrap=True)
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


def _clipped(line: str, width: int) -> str:
    return line if cell_len(line) <= width else f"{set_cell_size(line, width - 1)}…"


def _text(cell: VerdictCell | None) -> Text:
    """Return a cell's word in its colour, and its count."""
    if cell is None:
        return Text("-")
    text = Text(f"{cell.word:<8} {cell.count}" if cell.count else cell.word)
    text.stylize(_STYLES.get(cell.word, ""), 0, len(cell.word))
    return text
