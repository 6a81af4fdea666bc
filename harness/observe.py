"""An observation: a deployment is left alone, and what it does by itself is recorded and judged."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

import pytest

from common.waiting import Deadline, Every
from dags.shapes import dags
from harness.markers import flood_profile, permutation_of, scenario_of
from harness.options import Options
from harness.options_cluster import observes
from lab.base import Lab
from lab.cluster.lab import REFUSAL
from run.run import Run

log = logging.getLogger(__name__)

Say = Callable[[str], None]

_PROGRESS = 60.0
_STEP = 0.2


def why_left_alone(item: pytest.Item, options: Options) -> str | None:
    """Return why a test must not touch somebody else's deployment, None when it may."""
    cluster = options.cluster
    if cluster is None or cluster.attachment.allow_faults or observes(item):
        return None
    return REFUSAL


def missing_for(item: pytest.Item, lab: Lab) -> str | None:
    """Return what a test needs that the deployment has not, and how it gets that.

    The settings of a scenario; the DAGs of a scenario or a flood.
    """
    if item.get_closest_marker("scenario"):
        scenario = scenario_of(item)
        if wants := scenario.settings_of(permutation_of(item)):
            settings = ", ".join(f"{name}={value}" for name, value in wants.items())
            return f"a deployment keeps its own settings, and it takes {settings}"
        shapes, wanted = scenario.shapes, f"HA_CHAOS_SHAPES={scenario.shapes}"
    elif item.get_closest_marker("flood"):
        profile = flood_profile(item)
        shapes = profile.shapes
        wanted = f"HA_CHAOS_SHAPES={shapes} and HA_CHAOS_SLEEP={profile.sleep:g}"
    else:
        return None
    paused = {dag_id: lab.api.is_paused(dag_id) for dag_id in dags(shapes)}
    if resting := [dag_id for dag_id, is_paused in paused.items() if is_paused]:
        return f"the deployment has the DAG {', '.join(resting)} paused: unpause it"
    missing = [dag_id for dag_id, is_paused in paused.items() if is_paused is None]
    if not missing:
        return None
    return (
        f"the deployment has no DAG {', '.join(missing)}: put the files of dags/ into its DAG "
        f"folder, with {wanted} for all components"
    )


def printer(config: pytest.Config) -> Say:
    """Return what prints a line on the terminal while pytest captures the test's output."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def say(line: str) -> None:
        log.info("%s", line)
        if terminal is None:
            return
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            terminal.ensure_newline()
            terminal.write_line(f"{time.strftime('%H:%M:%S')} {line}")

    return say


class Observation:
    """Looks on for `seconds`, 0 for without end; `say` prints how it goes."""

    def __init__(self, history: Run, seconds: float, say: Say) -> None:
        self._history = history
        self._seconds = seconds
        self._say = say
        self._over = threading.Event()
        self._said = 0

    def watch(self) -> None:
        """Return when the time is up, or at the first Ctrl-C; a second one aborts the session."""
        with self._ended_by_interrupt():
            for each in self._history.lab.not_covered:
                self._say(f"Not covered: {each}")
            if reason := self._history.lab.unidentified:
                self._say(f"The verdict will be unknown: {reason}")
            how_long = f"for {self._seconds:.0f} s" if self._seconds else "without end"
            self._say(f"Observing {how_long}; Ctrl-C ends it with the verdict so far")
            begun, minute = time.monotonic(), Every(_PROGRESS)
            until = Deadline(self._seconds or float("inf"))
            while not self._over.wait(_STEP) and not until.passed:
                self._say_gaps()
                if minute.due():
                    self._say(self._progress(time.monotonic() - begun))
            self._say(self._progress(time.monotonic() - begun))
        # What the verdict rests on; how much there was to see, the judge itself asks.
        self._history.assume("schedulers-told-apart", not reason, reason or "yes", "yes")

    def _say_gaps(self) -> None:
        """Say what may be missing as soon as that is known: the verdict will be unknown for it.

        Who watches may end it there, or go on: a violation that is seen stays one.
        """
        gaps = self._history.recorder.gaps
        for gap in gaps[self._said :]:
            self._say(f"Gap: {gap}")
        self._said = len(gaps)

    def _progress(self, seconds: float) -> str:
        seen = ", ".join(
            f"{number} {what.replace('_', ' ')}" for what, number in self._history.so_far().items()
        )
        recorder = self._history.recorder
        gaps = f"{len(recorder.gaps)} gaps" if recorder.gaps else ""
        return f"{seconds / 60:.1f} min: " + "; ".join(filter(None, (seen, gaps, recorder.trouble)))

    @contextmanager
    def _ended_by_interrupt(self) -> Iterator[None]:
        """Take the first Ctrl-C for the end of the observation; the next is pytest's again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def end(_number: int, _frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, before)
            self._over.set()

        signal.signal(signal.SIGINT, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
