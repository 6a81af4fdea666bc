"""Floods as a test sees them: of a named profile, stopped at the first violation."""

import logging
import time

import allure

from harness.run import Run
from load.flood import Flood
from load.profiles import Profile

log = logging.getLogger(__name__)

_LAG = 5.0


class Floods:
    """Floods the lab of one run; states whether the load that was asked for was reached."""

    def __init__(self, history: Run, profile: Profile, *, whole: bool = False) -> None:
        self._history = history
        self._profile = profile
        self._whole = whole
        self._flood: Flood | None = None

    def run(self, at_most: float = 300.0) -> None:
        """Flood the lab with the test's profile.

        Returns when all runs have ended, after `at_most` seconds, or at the first violation, which
        is reason enough to stop; then the load is no assumption any more.
        """
        run, profile = self._history, self._profile
        flood = profile.flood(run.lab.api.base_url, run.folder, run.seed, at_most)
        self._flood = flood
        task_instances = profile.task_instances(run.seed)
        with allure.step(f"flood {profile.name}: {task_instances} task instances"), flood:
            self._watch(flood, task_instances)
        self._state(flood, task_instances)

    def _watch(self, flood: Flood, task_instances: int) -> None:
        told = time.monotonic()
        while flood.running and (self._whole or not self._history.violated.is_set()):
            if time.monotonic() - told > 10:
                told = time.monotonic()
                seen = len(self._history.scheduled)
                log.info("%d of %d task instances are scheduled", seen, task_instances)
            self._history.look_for_faults()
            time.sleep(0.1)

    def _state(self, flood: Flood, task_instances: int) -> None:
        report = flood.stop()
        run = self._history
        if run.violated.is_set() and not self._whole:
            run.note("the flood was stopped at the first violation")
            return
        short = report.shortfall()
        run.assume("load-reached", short is None, short or "as asked", f"{flood.asked.runs} runs")
        seen = self._count(task_instances)
        run.assume("task-instances-reached", seen >= task_instances, seen, f">= {task_instances}")
        for process in run.lab.schedulers:
            decisions = run.decisions[process]
            run.assume(f"decisions-of-{process}", decisions > 0, decisions, "> 0")

    def _count(self, wanted: int) -> int:
        """Count the task instances seen; the listener hears of the last ones a moment later."""
        deadline = time.monotonic() + _LAG
        while len(self._history.scheduled) < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return len(self._history.scheduled)

    def stop(self) -> None:
        """Stop what still floods."""
        if self._flood is not None and self._flood.running:
            self._flood.stop()
