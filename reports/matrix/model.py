"""The matrix itself, environments against questions, and how it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from reports.matrix.cells import Cell, Question, Status
from reports.terminal import grid, rendered
from reports.trials import Environment

NOTHING = "-"

_COLOURS: dict[Status, str] = {
    "reproduced": "red",
    "clean": "green",
    "unconfirmed": "yellow",
    "not applicable": "dim",
}

_Lines = list[list[str]]
"""A table's cells, the heading first."""


@dataclass(frozen=True)
class Matrix:
    """Environments against questions; a pair that was never put has no cell."""

    rows: tuple[Environment, ...]
    columns: tuple[Question, ...]
    cells: Mapping[tuple[Environment, Question], Cell]
    notes: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ()

    @property
    def scenarios(self) -> tuple[Question, ...]:
        """Return the scenarios: the columns of the first table."""
        return tuple(question for question in self.columns if question.is_scenario)

    @property
    def floods(self) -> tuple[Question, ...]:
        """Return the floods and faults: the rows of the second table, for they are many."""
        return tuple(question for question in self.columns if not question.is_scenario)

    def row_name(self, row: Environment) -> str:
        """Return how a row is headed: no more than tells it from the others."""
        parts = [row.build.label]
        if len({other.lab for other in self.rows}) > 1:
            parts.append(row.lab)
        if len({other.schedulers for other in self.rows}) > 1:
            parts.append(f"{row.schedulers} schedulers")
        if any(other.name == row.name and other.digest != row.digest for other in self.rows):
            parts.append(f"build {row.digest or 'not recorded'}")
        return " ".join(parts)

    def text(self, *, colour: bool = False, width: int = 120) -> str:
        """Draw it for a terminal; bounds are left out where they make a table too wide."""
        blocks = []
        for wide, narrow in zip(self._tables(bounds=True), self._tables(bounds=False), strict=True):
            breadth = max(map(len, _drawn(wide, colour=False).splitlines()))
            blocks.append(_drawn(wide if breadth <= width else narrow, colour=colour))
        return "\n".join([*blocks, "\n".join([*self.comparisons, *self.notes])]) + "\n"

    def markdown(self) -> str:
        """Draw it in Markdown, for a pull request or a wiki."""
        blocks = []
        for heading, *rows in self._tables(bounds=True):
            lines = [heading, ["---"] * len(heading), *rows]
            blocks.append("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))
        notes = [f"- {_escaped(note)}" for note in (*self.comparisons, *self.notes)]
        return "\n\n".join([*blocks, "\n".join(notes)]) + "\n"

    def _tables(self, *, bounds: bool) -> list[_Lines]:
        """Write two tables: versions against scenarios, and floods and faults against versions.

        The scenarios are few, and so are columns; floods and faults are many, and are lines.
        """
        tables: list[_Lines] = []
        if self.scenarios:
            rows = self._with(self.scenarios)
            lines = [[self.row_name(r), *self._cells(r, self.scenarios, bounds)] for r in rows]
            tables.append([["Airflow", *(q.name for q in self.scenarios)], *lines])
        if self.floods:
            rows = self._with(self.floods)
            across = [self._cells(row, self.floods, bounds) for row in rows]
            turned = zip(self.floods, zip(*across, strict=True), strict=True)
            lines = [[question.name, *cells] for question, cells in turned]
            tables.append([["Floods and faults", *map(self.row_name, rows)], *lines])
        return tables

    def _with(self, questions: Sequence[Question]) -> list[Environment]:
        return [row for row in self.rows if any((row, q) in self.cells for q in questions)]

    def _cells(self, row: Environment, questions: Sequence[Question], bounds: bool) -> list[str]:
        found = [self.cells.get((row, question)) for question in questions]
        return [cell.text(bounds=bounds) if cell else NOTHING for cell in found]


def _drawn(lines: _Lines, *, colour: bool) -> str:
    table = grid(3)
    for line in lines:
        table.add_row(*map(_painted, line))
    return rendered(table, colour=colour)


def _painted(cell: str) -> Text:
    text = Text(cell)
    for status, colour in _COLOURS.items():
        if cell.startswith(status):
            text.stylize(colour, 0, len(status))
    return text


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
