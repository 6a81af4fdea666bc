"""Floods as a test sees them: sized in task instances, stopped at the first violation."""

import logging
import time
from collections.abc import Sequence
from itertools import accumulate, cycle

import allure

from dags.shapes import DEFAULT_SHAPES, Shape, dags
from harness.run import Run
from load.flood import Flood

log = logging.getLogger(__name__)


def runs_for(task_instances: int, shapes: Sequence[Shape]) -> int:
    """Return how many runs, in rounds over the shapes, bring so many task instances at least."""
    rounds = cycle(shape.task_instances for shape in shapes)
    return next(n for n, total in enumerate(accumulate(rounds), 1) if total >= task_instances)


class Floods:
    """Floods the lab of one run; states whether the load that was asked for was reached."""

    def __init__(self, history: Run, *, whole: bool = False) -> None:
        self._history = history
        self._whole = whole
        self._flood: Flood | None = None

    def run(self, task_instances: int, rate: float = 0.5, at_most: float = 300.0) -> None:
        """Trigger runs of the lab's DAGs, `rate` a second, until they bring `task_instances`.

        Returns when all have ended, after `at_most` seconds, or at the first violation, which is
        reason enough to stop; then the load is no assumption any more.
        """
        shapes = dags(self._history.lab.spec.env.get("HA_CHAOS_SHAPES", DEFAULT_SHAPES))
        flood = self._flood = Flood(
            self._history.lab.api.base_url,
            self._history.folder,
            list(shapes),
            runs=runs_for(task_instances, list(shapes.values())),
            rate=rate,
            seed=self._history.seed,
            run_time=at_most,
        )
        with allure.step(f"flood of {task_instances} task instances"), flood:
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
        seen = len(run.scheduled)
        run.assume("task-instances-reached", seen >= task_instances, seen, f">= {task_instances}")
        for process in run.lab.schedulers:
            decisions = run.decisions[process]
            run.assume(f"decisions-of-{process}", decisions > 0, decisions, "> 0")

    def stop(self) -> None:
        """Stop what still floods."""
        if self._flood is not None and self._flood.running:
            self._flood.stop()
