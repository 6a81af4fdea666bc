"""Makes the matrix: which version of Airflow shows which race, from all runs that there are."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
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
    found = _with_their_build(found)
    cells = {place: cell(attempts) for place, attempts in found.items()}
    rows = tuple(sorted({row for row, _ in cells}, key=lambda row: row.age))
    columns = tuple(sorted({question for _, question in cells}, key=_order))
    matrix = Matrix(rows, columns, cells)
    return replace(matrix, notes=tuple(notes(matrix)), comparisons=tuple(comparisons(matrix)))


def _with_their_build(
    found: Mapping[tuple[Row, Question], list[Attempt]],
) -> dict[tuple[Row, Question], list[Attempt]]:
    """Give what left no record, and so tells no build, to the build of its name, if it has one."""
    builds: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in dict.fromkeys(row for row, _ in found):
        if row.build:
            builds[row.place].append(row)
    merged: dict[tuple[Row, Question], list[Attempt]] = defaultdict(list)
    for (row, question), attempts in found.items():
        silent = not any(attempt.record for attempt in attempts)
        alone = builds[row.place][0] if len(builds[row.place]) == 1 else row
        merged[alone if silent and not row.build else row, question] += attempts
    return merged


def _order(question: Question) -> tuple[bool, str]:
    return not question.gated, question.name


def _attempts(run: RunFolder, scenarios: set[str]) -> Iterator[tuple[Row, Attempt]]:
    """Go through what a run folder's session was to run, and through what it left besides."""
    names = {folder_airflow(run.path.name)}
    names |= {record.airflow for record in run.tests}
    told: dict[str, Row] = {}
    for record in run.tests:
        place = record.airflow, record.version, record.lab, record.schedulers
        row = Row(*place, build=record.build)
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
