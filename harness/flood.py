"""Floods as a test sees them: of a named profile, stopped at the first violation."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import allure
from msgspec import structs

from common import waiting
from common.errors import UserError
from load.flood import Flood
from load.profiles import PROFILES, Profile
from load.report import FloodReport
from reports.statistics import Sequential, percent
from run.logs import OwnReason
from run.run import Run

log = logging.getLogger(__name__)

_LAG = 5.0

# Seconds that a fault may keep the API server from taking runs: a database that restarts, a node
# that stands still.
_STALLED = 30.0


class Floods:
    """Floods the lab of one run; states whether the load that was asked for was reached.

    With `until` a flood lasts until that test says `clean`, and no longer: its trials are the task
    instances that ended. A profile too small for an answer gets more runs.
    """

    def __init__(
        self,
        history: Run,
        profile: Profile,
        *,
        whole: bool = False,
        load_workers: int = 0,
        until: Sequential | None = None,
    ) -> None:
        self._history = history
        self._profile = enough(profile, until.needed, history.seed) if until else profile
        self._until = until
        self._begun = 0
        self._whole = whole
        self._load_workers = load_workers
        self._flood: Flood | None = None
        self._reason: OwnReason | None = None
        self._progress = waiting.Every(10.0)

    def run(self, at_most: float = 300.0) -> None:
        """Flood the lab with the test's profile.

        Returns when all runs have ended, after `at_most` seconds (longer where the lab's pace is
        slower, or the flood has more runs than its profile), or at the first violation, which is
        reason enough to stop: where the stored history does not show it after all, the load was too
        little. Or when the answer is clear, and then as much load is assumed as the answer needed.
        """
        with self._flooding(at_most) as flood:
            self._watch(flood, lambda: self._clear)

    @contextmanager
    def running(self, at_most: float = 300.0) -> Iterator[None]:
        """Flood the lab while the test acts: from when every scheduler has taken a decision.

        On leaving, what `run` says holds; `at_most` counts from the flood's start. For a clear
        answer only those task instances count that ended after the test began to act.
        """
        with self._flooding(at_most, stalled=_STALLED) as flood:
            self._watch(flood, lambda: self._under_way)
            if not flood.running:
                self._stopped(flood)
            self._begun = len(self._history.ended)
            yield
            self._watch(flood, lambda: self._clear)

    def go_on(self, seconds: float) -> None:
        """Let `seconds` of the flood pass; returns earlier if it is over or shows a violation."""
        if self._flood is None:
            raise UserError("No flood is running.", "Call go_on inside `with flood.running():`.")
        deadline = waiting.Deadline(seconds)
        self._watch(self._flood, lambda: deadline.passed)

    @contextmanager
    def _flooding(self, at_most: float, stalled: float = 0.0) -> Iterator[Flood]:
        run, profile = self._history, self._profile
        named = PROFILES.get(profile.name, profile)
        limit = at_most * run.lab.pace * max(1.0, profile.runs / named.runs)
        url = run.lab.api.base_url
        flood = profile.flood(url, run.folder, run.seed, limit, self._load_workers)
        self._flood, self._reason = flood, OwnReason(run.lab, run.secrets)
        with allure.step(f"flood {profile.name}: {self._wanted} task instances"), flood:
            yield flood
        self._state(flood, self._wanted, stalled)

    def _stopped(self, flood: Flood) -> FloodReport:
        """End the flood; UserError, with Airflow's own reason, where it could not take place."""
        if self._reason is None:
            return flood.stop()
        with self._reason.added():
            return flood.stop()

    @property
    def _wanted(self) -> int:
        """How many task instances of the flood's runs are to be scheduled."""
        return self._profile.task_instances(self._history.seed)

    @property
    def _unharmed(self) -> int:
        """How many task instances have ended while the lab was disturbed as the test wants it."""
        return max(0, len(self._history.ended) - self._begun)

    @property
    def _clear(self) -> bool:
        """Whether so much went well that a race of the rate asked about had shown itself."""
        return self._until is not None and self._unharmed >= self._until.needed

    @property
    def _under_way(self) -> bool:
        run = self._history
        return all(run.decisions[process] for process in run.lab.schedulers)

    def _watch(self, flood: Flood, enough: Callable[[], bool] = lambda: False) -> None:
        """Look on until it is enough, the flood is over, or a violation ends it."""
        while flood.running and not enough():
            if self._history.violated.is_set() and not self._whole:
                return
            if self._progress.due():
                seen = len(self._history.scheduled)
                log.info("%d of %d task instances are scheduled", seen, self._wanted)
            self._history.look_for_faults()
            time.sleep(0.1)

    def _state(self, flood: Flood, task_instances: int, stalled: float) -> None:
        report = self._stopped(flood)
        run = self._history
        if run.violated.is_set() and not self._whole:
            # What the stored history does not show after all was no reason to stop.
            run.assume("load-reached", False, "stopped at the first violation", "the whole flood")
            return
        if self._until is not None and self._answered(self._until):
            report, task_instances = _until_now(report), self._until.needed
        short = report.shortfall(stalled=stalled)
        run.assume("load-reached", short is None, short or "as asked", f"{report.asked.runs} runs")
        seen = self._count(task_instances)
        run.assume("task-instances-reached", seen >= task_instances, seen, f">= {task_instances}")
        for process in run.lab.schedulers:
            decisions = run.decisions[process]
            run.assume(f"decisions-of-{process}", decisions > 0, decisions, "> 0")

    def _answered(self, until: Sequential) -> bool:
        """State what was asked about, and what the task instances that ended say to it."""
        unharmed = self._unharmed
        clear = until.feed(0, unharmed) == "clean"
        self._history.note(f"task instances of the flood that showed a violation: {until.text()}")
        asked = f"to rule out {percent(until.rate)} at {100 * until.confidence:g} %"
        self._history.assume("answer-clear", clear, unharmed, f">= {until.needed}, {asked}")
        return clear

    def _count(self, wanted: int) -> int:
        """Count the task instances seen; the listener hears of the last ones a moment later."""
        waiting.until(lambda: len(self._history.scheduled) >= wanted, _LAG)
        return len(self._history.scheduled)

    def stop(self) -> None:
        """Stop what still floods."""
        if self._flood is not None and self._flood.running:
            self._flood.stop()


def enough(profile: Profile, task_instances: int, seed: int) -> Profile:
    """Return the profile with as many more runs as so many task instances need.

    A tenth more, for what is still under way, or is skipped by a fault, when the rest has ended.
    """
    while (made := profile.task_instances(seed)) < 1.1 * task_instances:
        more = math.ceil(profile.runs * (1.1 * task_instances / made - 1))
        profile = replace(profile, runs=profile.runs + max(1, more))
    return profile


def _until_now(report: FloodReport) -> FloodReport:
    """Return the report of a flood that was stopped as one of no more than it had triggered."""
    asked = structs.replace(report.asked, runs=report.triggered)
    return structs.replace(report, asked=asked, finished=report.triggered)
