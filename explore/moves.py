"""What a round does to processes, at the steps that its schedule chooses.

kill    SIGKILL; its heartbeat is late at once, and another is started in its place
pause   SIGSTOP, and its heartbeat is late: peers take it for dead
resume  it goes on, and knows of nothing
"""

from collections.abc import Callable

from chaos.base import Injection
from chaos.scheduler_kill import SchedulerKill
from chaos.scheduler_pause import SchedulerPause
from common.errors import UserError
from common.waiting import until
from explore.heartbeats import Heartbeats
from explore.schedule import Deed
from lab.base import Lab
from run.run import Run

VERBS = frozenset({"kill", "pause", "resume"})

_START = 30.0
"""Seconds that a scheduler may take to start."""


class Moves:
    """Disturbs processes in one round; `restore` has them all at work again.

    `frozen` are those that cannot go on now, also if their session was let past.
    """

    def __init__(self, run: Run, heartbeats: Heartbeats) -> None:
        self._run = run
        self._heartbeats = heartbeats
        self._paused: dict[str, Injection[Lab]] = {}
        self._killed: dict[str, int | None] = {}
        self.refused: list[str] = []

    @property
    def frozen(self) -> frozenset[str]:
        """Return who is frozen."""
        return frozenset(self._paused)

    def make(self, deed: Deed, later: Callable[[Callable[[], None]], object]) -> None:
        """Make a move; what takes its time is done by `later`. One that fails is `refused`."""
        try:
            if deed.do == "kill":
                self._kill(deed.target, later)
            elif deed.do == "pause":
                self._pause(deed.target)
            else:
                self._resume(deed.target)
        except UserError as error:
            self.refused.append(f"{deed.do}: {error}")

    def _kill(self, process: str, later: Callable[[Callable[[], None]], object]) -> None:
        killing = SchedulerKill(process).on(self._run.lab, self._run.record)
        self._killed[process] = self._heartbeats.job(process)
        killing.begin()
        self._heartbeats.set_back(process)
        later(killing.end)

    def _pause(self, process: str) -> None:
        pausing = SchedulerPause(process).on(self._run.lab, self._run.record)
        self._paused[process] = pausing
        pausing.begin()
        self._heartbeats.set_back(process)

    def _resume(self, process: str) -> None:
        if pausing := self._paused.pop(process, None):
            pausing.end()

    def wake(self) -> None:
        """Let the frozen go on."""
        for process in self.frozen:
            self._resume(process)

    @property
    def starting(self) -> bool:
        """Whether somebody who was killed has not shown itself again."""
        return any(self._heartbeats.job(who) == job for who, job in self._killed.items())

    def restore(self) -> None:
        """Wait until who was killed is at work again; nothing may be held meanwhile."""
        if not until(lambda: not self.starting, _START):
            raise UserError(f"{', '.join(self._killed)} did not start again in {_START:.0f} s.")
