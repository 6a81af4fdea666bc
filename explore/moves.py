"""What a round does to processes, at the steps that its schedule chooses.

kill     SIGKILL; its heartbeat is late at once, and another is started in its place
pause    SIGSTOP, and its heartbeat is late: peers take it for dead
resume   it goes on, and knows of nothing
silence  its watch of pods is told nothing
tell     it is told all that it has missed
"""

from collections.abc import Callable
from typing import Any

from chaos.base import Fault, Injection
from chaos.scheduler_kill import SchedulerKill
from chaos.scheduler_pause import SchedulerPause
from chaos.watch_broken import WatchBroken
from common.errors import UserError
from common.waiting import until
from explore.heartbeats import Heartbeats
from explore.schedule import Deed
from run.run import Run

BEGUN_BY = {"resume": "pause", "tell": "silence"}
"""Moves that end another, which lasts until then."""

VERBS = frozenset({"kill", *BEGUN_BY, *BEGUN_BY.values()})

_START = 30.0
"""Seconds that a scheduler may take to start."""


class Moves:
    """Disturbs processes in one round; `restore` has them all at work again.

    `frozen` are those that cannot go on now, also if their session was let past.
    """

    def __init__(self, run: Run, heartbeats: Heartbeats) -> None:
        self._run = run
        self._heartbeats = heartbeats
        self._lasting: dict[tuple[str, str], Injection[Any]] = {}
        self._killed: dict[str, int | None] = {}
        self._paused: set[str] = set()
        self.refused: list[str] = []

    @property
    def frozen(self) -> frozenset[str]:
        """Return who is frozen."""
        return frozenset(process for do, process in self._lasting if do == "pause")

    def make(self, deed: Deed, later: Callable[[Callable[[], None]], object]) -> None:
        """Make a move; what takes its time is done by `later`. One that fails is `refused`."""
        try:
            if deed.do == "kill":
                self._kill(deed.target, later)
            elif begun := BEGUN_BY.get(deed.do):
                self._end(begun, deed.target)
            else:
                self._begin(deed.do, deed.target)
        except UserError as error:
            self.refused.append(f"{deed.do} was refused: {error}")

    def _kill(self, process: str, later: Callable[[Callable[[], None]], object]) -> None:
        killing = SchedulerKill(process).on(self._run.lab, self._run.record)
        self._killed[process] = self._heartbeats.job(process)
        killing.begin()
        self._heartbeats.set_back(process)
        later(killing.end)

    def _begin(self, do: str, process: str) -> None:
        fault: Fault[Any] = (
            SchedulerPause(process) if do == "pause" else WatchBroken(process, how="silent")
        )
        lasting = fault.on(self._run.lab, self._run.record)
        lasting.begin()
        self._lasting[do, process] = lasting
        if do == "pause":
            self._paused.add(process)
            self._heartbeats.set_back(process)

    def _end(self, do: str, process: str) -> None:
        if lasting := self._lasting.pop((do, process), None):
            lasting.end()

    def end(self) -> None:
        """End all that lasts; who was frozen is late to its peers in this round alone."""
        for do, process in tuple(self._lasting):
            self._end(do, process)
        for process in self._paused - self._killed.keys():
            self._heartbeats.renew(process)

    @property
    def starting(self) -> bool:
        """Whether somebody who was killed has not shown itself again."""
        return any(self._heartbeats.job(who) == job for who, job in self._killed.items())

    def restore(self) -> None:
        """Wait until who was killed is at work again; nothing may be held meanwhile."""
        if not until(lambda: not self.starting, _START):
            raise UserError(f"{', '.join(self._killed)} did not start again in {_START:.0f} s.")
