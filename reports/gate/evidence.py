"""What there is to decide by: every trial, and what later trials have answered by now."""

from collections.abc import Iterable
from dataclasses import dataclass

from reports.gate.policy import Policy
from reports.store import Runs
from reports.trials import Build, Trial, all_trials


def place(trial: Trial) -> str:
    """Name where a trial ran; the chart, one's own DAGs and settings are a part of that."""
    session = trial.run.session
    conditions = session.conditions if session else ""
    return ", ".join(filter(None, (trial.environment.name, conditions)))


def question(trial: Trial) -> tuple[str, str]:
    """Return what a later run can answer anew: a test in a place."""
    return place(trial), trial.test


def subject(trial: Trial) -> str:
    """Name a trial by its test and its place."""
    return f"{trial.id} on {place(trial)}"


def where(trial: Trial) -> str:
    """Return the folder to read, short: the run's, and the test's own below it."""
    folder = trial.record.folder.rpartition("/")[2] if trial.record else ""
    return f"{trial.run.path.name}/tests/{folder}" if folder else trial.run.path.name


@dataclass(frozen=True)
class Evidence:
    """All trials, the oldest first, and which builds are to be gated.

    `gated` are the trials by which these are judged, `references` the suite's own checks, on
    releases that the policy names known-bad. `answers` has the number of the last conclusive trial
    of each question.
    """

    runs: Runs
    trials: list[Trial]
    builds: tuple[Build, ...]
    gated: list[Trial]
    references: list[Trial]
    answers: dict[tuple[str, str], int]

    def of(self, build: Build) -> list[Trial]:
        """Return the trials that a gated build is judged by."""
        return [trial for trial in self.gated if trial.build == build]

    def answered(self, trial: Trial) -> bool:
        """Tell whether the trial says something, or a later one of the same test in its place."""
        return trial.verdict != "unknown" or self.answers.get(question(trial), -1) > trial.number


def latest(trials: Iterable[Trial]) -> list[Trial]:
    """Keep of each test and place the last trial that is conclusive."""
    return list({question(trial): trial for trial in trials if trial.conclusive}.values())


def gather(runs: Runs, policy: Policy, airflow: Iterable[str] = ()) -> Evidence:
    """Lay out what the runs left; `airflow` names the builds to be gated, none names all."""
    wanted = tuple(airflow)
    trials = all_trials(runs.folders)
    known_bad = policy.oracle_health.names
    references = [t for t in trials if t.expect_known and known_bad(t.build.version)]
    numbers = {trial.number for trial in references}
    gated = [
        trial
        for trial in trials
        if trial.number not in numbers and (not wanted or any(map(trial.build.called, wanted)))
    ]
    builds = sorted({trial.build for trial in gated}, key=lambda build: build.age)
    answers = {question(trial): trial.number for trial in trials if trial.conclusive}
    return Evidence(runs, trials, tuple(builds), gated, references, answers)
