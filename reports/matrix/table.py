"""Makes the matrix: which version of Airflow shows which race, from all runs that there are."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from reports.campaigns.sessions import scenario_names
from reports.matrix.cells import Question, Variant, cell, variant
from reports.matrix.model import Matrix
from reports.matrix.notes import comparisons, notes
from reports.store import Runs
from reports.trials import Environment, Trial, all_trials

_Sorted = Mapping[tuple[Environment, Question], dict[Variant, list[Trial]]]


def table(runs: Runs) -> Matrix:
    """Sort all trials into environments and questions."""
    trials = all_trials(runs.folders)
    known = {trial.record.known.scenario for trial in trials if trial.record and trial.record.known}
    cells = {place: cell(variants) for place, variants in _sorted(trials, known).items()}
    rows = tuple(sorted({row for row, _ in cells}, key=lambda row: row.age))
    columns = {question for _, question in cells}
    ordered = sorted(columns, key=lambda each: (not each.is_scenario, each.name))
    matrix = Matrix(rows, tuple(ordered), cells)
    return replace(matrix, notes=tuple(notes(matrix)), comparisons=tuple(comparisons(matrix)))


def _sorted(trials: list[Trial], known: set[str]) -> _Sorted:
    """Sort trials; what left no record of its code belongs to the one build of its name."""
    scenarios = {*scenario_names(), *known}
    digests: dict[str, set[Environment]] = defaultdict(set)
    for trial in trials:
        if trial.environment.digest:
            digests[trial.environment.name].add(trial.environment)
    found: dict[tuple[Environment, Question], dict[Variant, list[Trial]]] = {}
    for trial in trials:
        row, asked = trial.environment, variant(trial.name, scenarios)
        builds = digests[row.name]
        if trial.record is None and not row.digest and len(builds) == 1:
            (row,) = builds
        found.setdefault((row, asked.question), {}).setdefault(asked, []).append(trial)
    return found
