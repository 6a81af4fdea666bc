"""What a matrix must say below its tables: what the cells have no room for, and comparisons."""

from collections.abc import Iterator
from itertools import pairwise

from reports.grouping import grouped
from reports.matrix.cells import Cell, Question
from reports.matrix.model import Matrix
from reports.statistics import compare_outcomes
from reports.trials import Environment


def notes(matrix: Matrix) -> Iterator[str]:
    """Say what the cells have no room for."""
    yield _setting(matrix)
    for row in matrix.rows:
        for question in matrix.columns:
            if found := matrix.cells.get((row, question)):
                yield from _remarks(f"{matrix.row_name(row)}, {question.name}", found)
    shown = {
        question
        for (_, question), found in matrix.cells.items()
        if found.by_design and found.status == "reproduced"
    }
    if designed := [question.name for question in matrix.columns if question in shown]:
        yield f"{', '.join(designed)}: a limit of Airflow's design, not a defect of a release."


def _remarks(where: str, found: Cell) -> Iterator[str]:
    for name in found.never_shown:
        yield f"{where}: known to be affected, and {name} never showed it."
    if found.status == "reproduced" and not found.affected:
        yield f"{where}: this release was not known to have it."
    for promises, number in found.others:
        yield f"{where}: {number} {'run' if number == 1 else 'runs'} broke {promises}."


def _setting(matrix: Matrix) -> str:
    """Say where all this ran, and whether the seeds are the same."""
    seeds = {row: _seeds(matrix, row) for row in matrix.rows}
    every = frozenset().union(*seeds.values())
    labs = sorted({row.lab for row in matrix.rows})
    numbers = sorted({row.schedulers for row in matrix.rows})
    where = f"Lab: {', '.join(labs)}; schedulers: {', '.join(map(str, numbers))}"
    if len(set(seeds.values())) == 1:
        shown = ", ".join(map(str, sorted(every)[:5])) + (", ..." if len(every) > 5 else "")
        return f"{where}; the same seeds for all: {shown or 'none'}."
    return f"{where}; {len(every)} seeds, not the same for all."


def _seeds(matrix: Matrix, row: Environment) -> frozenset[int]:
    mine = (found.seeds for (other, _), found in matrix.cells.items() if other == row)
    return frozenset().union(*mine)


def comparisons(matrix: Matrix) -> Iterator[str]:
    """Compare neighbours, of the same lab, where one shows a race and the other does not."""
    for question in matrix.scenarios:
        for group in grouped(matrix.rows, lambda row: (row.lab, row.schedulers)).values():
            rows = [row for row in group if _decided(matrix, row, question)]
            for older, newer in pairwise(rows):
                a, b = matrix.cells[older, question], matrix.cells[newer, question]
                if a.status != b.status:
                    compared = compare_outcomes(a.outcomes, b.outcomes)
                    names = matrix.row_name(older), matrix.row_name(newer)
                    text = f"{compared.text(*names)}; {compared.paired} with the same test and seed"
                    more = "" if compared.differs() else "; more runs (--count) would decide"
                    yield f"{question.name}: {text}{more}."


def _decided(matrix: Matrix, row: Environment, question: Question) -> bool:
    found = matrix.cells.get((row, question))
    return found is not None and found.status in ("reproduced", "clean")
