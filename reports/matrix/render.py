"""Draws the matrix's tables as text; knows nothing but their cells' words."""

from collections.abc import Callable, Sequence

from reports.matrix.cells import Status

Table = Sequence[Sequence[str]]
"""Lines of cells, the heading first."""

_COLOURS: dict[Status, str] = {
    "reproduced": "31",
    "clean": "32",
    "unconfirmed": "33",
    "not applicable": "2",
}
_GAP = "   "


def text(tables: Sequence[Table], notes: Sequence[str], *, colour: bool) -> str:
    """Return tables and notes for a terminal."""
    blocks = ["\n".join(_lines(table, _paint if colour else _plain)) for table in tables]
    return "\n\n".join([*blocks, "\n".join(notes)]) + "\n"


def markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Return tables and notes as Markdown."""
    blocks = []
    for heading, *rows in tables:
        lines = [heading, ["---"] * len(heading), *rows]
        blocks.append("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))
    listed = [f"- {_escaped(note)}" for note in notes]
    return "\n\n".join([*blocks, "\n".join(listed)]) + "\n"


def breadth(table: Table) -> int:
    """Return how many characters wide a table is."""
    widths = _widths(table)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _widths(table: Table) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _lines(table: Table, paint: Callable[[str], str]) -> list[str]:
    widths = _widths(table)
    heading, *rows = table
    lines = [_GAP.join(map(str.ljust, heading, widths)).rstrip()]
    for name, *cells in rows:
        painted = [
            paint(cell) + " " * (wide - len(cell))
            for cell, wide in zip(cells, widths[1:], strict=True)
        ]
        lines.append(_GAP.join([name.ljust(widths[0]), *painted]).rstrip())
    return lines


def _plain(cell: str) -> str:
    return cell


def _paint(cell: str) -> str:
    for status, code in _COLOURS.items():
        if cell.startswith(status):
            return f"\033[{code}m{status}\033[0m{cell.removeprefix(status)}"
    return cell


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
