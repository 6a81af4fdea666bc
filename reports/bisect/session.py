"""Judges an Airflow by pytest sessions, and keeps what became of it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import UserError
from lab.environments.request import describe
from reports.bisect.state import State, left_over, save
from reports.bisect.step import Step, decide
from reports.records import TestRecord
from reports.sessions import Answer, Plan, ask, folder_name

log = logging.getLogger(__name__)

Ask = Callable[[Plan, str, Path], Answer]
Named = Callable[[Plan, str], str]


class Sessions:
    """Judges Airflows for a search; what is decided is written down, and told without a run.

    A release's step is known by its name; that of a wheel or a checkout by the key of its code,
    for that may change under its name.
    """

    def __init__(
        self, path: Path, state: State, *, ask: Ask = ask, named: Named = folder_name
    ) -> None:
        self._path = path
        self._ask = ask
        self._named = named
        self._state = state
        self._folder = path.with_suffix("")

    def judge(self, airflow: str) -> Step:
        """Return the step of an Airflow; a step that is not known takes a session or more."""
        release = describe(airflow).kind == "version"
        if release and (step := self._state.steps.get(airflow)):
            return self._told(step, known=True)
        try:
            key = self._named(self._state.plan, airflow)
        except UserError as error:
            return self._kept(
                airflow, Step(airflow=airflow, verdict="skipped", reason=error.message)
            )
        name = airflow if release else key
        if step := self._state.steps.get(name):
            return self._told(step, known=True)
        place = self._folder / key

        def session(spec: str) -> Sequence[TestRecord]:
            log.info("%s: a session", spec)
            return list(self._ask(self._state.plan, spec, place).shelf.tests)

        return self._kept(
            name, decide(airflow, session, self._state.patience, known=left_over(place))
        )

    def _kept(self, name: str, step: Step) -> Step:
        self._state.steps[name] = step
        save(self._path, self._state)
        return self._told(step)

    def _told(self, step: Step, *, known: bool = False) -> Step:
        log.info("%s%s", step.text(), " (known)" if known else "")
        return step
