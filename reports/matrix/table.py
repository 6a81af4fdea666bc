"""Makes the matrix: which version of Airflow shows which race, from all runs that there are."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from reports.matrix.cells import Attempt, cell
from reports.matrix.model import Matrix, Row
from reports.matrix.naming import Question, asked
from reports.matrix.notes import comparisons, notes
from reports.naming import folder_airflow
from reports.sessions import scenario_names
from reports.store import RunFolder, Shelf


def table(shelf: Shelf) -> Matrix:
    """Sort all runs of a shelf into environments and questions."""
    known = {record.known.scenario for record in shelf.tests if record.known}
    scenarios = {*scenario_names(), *known}
    found: dict[tuple[Row, Question], list[Attempt]] = defaultdict(list)
    for run in shelf.runs:
        for row, attempt in _attempts(run, scenarios):
            found[row, attempt.asked.question].append(attempt)
    cells = {place: cell(attempts) for place, attempts in found.items()}
    rows = tuple(sorted({row for row, _ in cells}, key=lambda row: row.age))
    columns = tuple(sorted({question for _, question in cells}, key=_order))
    matrix = Matrix(rows, columns, cells)
    return replace(matrix, notes=tuple(notes(matrix)), comparisons=tuple(comparisons(matrix)))


def _order(question: Question) -> tuple[bool, str]:
    return not question.gated, question.name


def _attempts(run: RunFolder, scenarios: set[str]) -> Iterator[tuple[Row, Attempt]]:
    """Go through what a run folder's session was to run, and through what it left besides."""
    names = {folder_airflow(run.path.name)}
    names |= {record.airflow for record in run.tests}
    told: dict[str, Row] = {}
    for record in run.tests:
        row = Row(record.airflow, record.version, record.lab, record.schedulers)
        told[record.test] = row
        yield row, Attempt(asked(record.test, record.lab, names, scenarios), record)
    session = run.session
    if session is None:
        return
    alone = Row(session.airflow, session.airflow, session.lab, session.schedulers)
    row = next(iter(told.values()), alone)
    for test in dict.fromkeys([*session.collected, *session.tests]):
        if test not in told:
            ended = session.tests.get(test)
            skipped = ended is not None and ended.outcome == "skipped"
            what = asked(test, session.lab, {*names, session.airflow}, scenarios)
            yield row, Attempt(what, None, skipped)
