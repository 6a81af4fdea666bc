"""Floods as a test sees them: of a named profile, stopped at the first violation."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import allure

from harness.run import Run
from lab.errors import LabError
from load.flood import Flood
from load.profiles import Profile

log = logging.getLogger(__name__)

_LAG = 5.0

# Seconds that a fault may keep the API server from taking runs: a database that restarts, a node
# that stands still.
_STALLED = 30.0


class Floods:
    """Floods the lab of one run; states whether the load that was asked for was reached."""

    def __init__(
        self, history: Run, profile: Profile, *, whole: bool = False, load_workers: int = 0
    ) -> None:
        self._history = history
        self._profile = profile
        self._whole = whole
        self._load_workers = load_workers
        self._flood: Flood | None = None
        self._told = time.monotonic()

    def run(self, at_most: float = 300.0) -> None:
        """Flood the lab with the test's profile.

        Returns when all runs have ended, after `at_most` seconds (longer where the lab's pace is
        slower), or at the first violation, which is reason enough to stop; then the load is no
        assumption any more.
        """
        with self._flooding(at_most) as flood:
            self._watch(flood)

    @contextmanager
    def running(self, at_most: float = 300.0) -> Iterator[None]:
        """Flood the lab while the test acts: from when every scheduler has taken a decision.

        On leaving, what `run` says holds; `at_most` counts from the flood's start.
        """
        with self._flooding(at_most, stalled=_STALLED) as flood:
            self._watch(flood, lambda: self._under_way)
            yield
            self._watch(flood)

    def go_on(self, seconds: float) -> None:
        """Let `seconds` of the flood pass; returns earlier if it is over or shows a violation."""
        if self._flood is None:
            raise LabError("No flood is running.", "Call go_on inside `with flood.running():`.")
        until = time.monotonic() + seconds
        self._watch(self._flood, lambda: time.monotonic() >= until)

    @contextmanager
    def _flooding(self, at_most: float, stalled: float = 0.0) -> Iterator[Flood]:
        run, profile = self._history, self._profile
        limit = at_most * run.lab.pace
        url = run.lab.api.base_url
        flood = profile.flood(url, run.folder, run.seed, limit, self._load_workers)
        self._flood = flood
        with allure.step(f"flood {profile.name}: {self._wanted} task instances"), flood:
            yield flood
        self._state(flood, self._wanted, stalled)

    @property
    def _wanted(self) -> int:
        """How many task instances the flood's runs have."""
        return self._profile.task_instances(self._history.seed)

    @property
    def _under_way(self) -> bool:
        run = self._history
        return all(run.decisions[process] for process in run.lab.schedulers)

    def _watch(self, flood: Flood, enough: Callable[[], bool] = lambda: False) -> None:
        """Look on until it is enough, the flood is over, or a violation ends it."""
        while flood.running and not enough():
            if self._history.violated.is_set() and not self._whole:
                return
            if time.monotonic() - self._told > 10:
                self._told = time.monotonic()
                seen = len(self._history.scheduled)
                log.info("%d of %d task instances are scheduled", seen, self._wanted)
            self._history.look_for_faults()
            time.sleep(0.1)

    def _state(self, flood: Flood, task_instances: int, stalled: float) -> None:
        report = flood.stop()
        run = self._history
        if run.violated.is_set() and not self._whole:
            run.note("the flood was stopped at the first violation")
            return
        short = report.shortfall(stalled=stalled)
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
