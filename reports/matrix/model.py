"""The matrix itself: environments against questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from reports.matrix.cells import Cell
from reports.matrix.naming import Question
from reports.matrix.render import Table, breadth, markdown, text
from reports.records import environment

NOTHING = "-"


@dataclass(frozen=True)
class Row:
    """An environment: `airflow` is what its user called it, `version` what it reports.

    `build` is the digest of its code: two builds under one name are two rows.
    """

    airflow: str
    version: str
    lab: str
    schedulers: int
    build: str = ""

    @property
    def place(self) -> tuple[str, str, int]:
        """Return what its user knows it by: another build of the same name has the same."""
        return self.airflow, self.lab, self.schedulers

    @property
    def environment(self) -> str:
        """Return its name, the same in every report."""
        return environment(self.airflow, self.lab, self.schedulers)

    @property
    def age(self) -> tuple[Version, str, str, int, str]:
        """Return what rows are ordered by: the version, then the rest."""
        try:
            version = Version(self.version)
        except InvalidVersion:
            version = Version("0")
        return version, *self.place, self.build


@dataclass(frozen=True)
class Matrix:
    """Environments against questions; a pair that was never put has no cell."""

    rows: tuple[Row, ...]
    columns: tuple[Question, ...]
    cells: Mapping[tuple[Row, Question], Cell]
    notes: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ()

    @property
    def scenarios(self) -> tuple[Question, ...]:
        """Return the gated scenarios: the columns of the first table."""
        return tuple(question for question in self.columns if question.gated)

    @property
    def floods(self) -> tuple[Question, ...]:
        """Return the floods and faults: the rows of the second table, for they are many."""
        return tuple(question for question in self.columns if not question.gated)

    def row_name(self, row: Row) -> str:
        """Return how a row is headed: no more than tells it from the others."""
        parts = [row.airflow]
        if len({other.lab for other in self.rows}) > 1:
            parts.append(row.lab)
        if len({other.schedulers for other in self.rows}) > 1:
            parts.append(f"{row.schedulers} schedulers")
        if any(other.place == row.place and other.build != row.build for other in self.rows):
            parts.append(f"build {row.build or 'not told'}")
        return " ".join(parts)

    def text(self, *, colour: bool = False, width: int = 120) -> str:
        """Draw it for a terminal; bounds are left out where they make a table too wide."""
        tables = zip(self._tables(bounds=True), self._tables(bounds=False), strict=True)
        fitting = [wide if breadth(wide) <= width else narrow for wide, narrow in tables]
        return text(fitting, [*self.comparisons, *self.notes], colour=colour)

    def markdown(self) -> str:
        """Draw it in Markdown, for a pull request or a wiki."""
        return markdown(self._tables(bounds=True), [*self.comparisons, *self.notes])

    def _tables(self, *, bounds: bool) -> list[Table]:
        """Write two tables: versions against scenarios, and floods and faults against versions.

        The scenarios are few, and so are columns; floods and faults are many, and are lines.
        """
        tables: list[Table] = []
        if self.scenarios:
            rows = self._with(self.scenarios)
            lines = [[self.row_name(r), *self._said(r, self.scenarios, bounds)] for r in rows]
            tables.append([["Airflow", *(q.name for q in self.scenarios)], *lines])
        if self.floods:
            rows = self._with(self.floods)
            across = [self._said(row, self.floods, bounds) for row in rows]
            turned = zip(self.floods, zip(*across, strict=True), strict=True)
            lines = [[question.name, *said] for question, said in turned]
            tables.append([["Floods and faults", *map(self.row_name, rows)], *lines])
        return tables

    def _with(self, questions: Sequence[Question]) -> list[Row]:
        return [row for row in self.rows if any((row, q) in self.cells for q in questions)]

    def _said(self, row: Row, questions: Sequence[Question], bounds: bool) -> list[str]:
        found = [self.cells.get((row, question)) for question in questions]
        return [cell.text(bounds=bounds) if cell else NOTHING for cell in found]
