"""What was begun in a history and has not ended: runs, and task instances that somebody has to act
on. Both the judge of lost tasks and the recorder, who asks why they wait, follow it."""

from oracle.events import DagRunEvent, Event, TaskInstanceEvent, TaskInstanceKey
from oracle.states import IN_HAND, QUEUED, RUN_FINISHED, RUNNING, WAITING

Run = tuple[str, str]

_UNENDED = IN_HAND | WAITING
_OCCUPIES = frozenset({QUEUED, RUNNING})


def run_of(ti: TaskInstanceKey) -> Run:
    """Return the run that a task instance belongs to."""
    return ti.dag_id, ti.run_id


class Unended:
    """Follows the rows of runs and task instances; anything else is let pass.

    `last` is when one of them moved last, and `most` how many task instances were QUEUED or
    RUNNING at once at most: so many executors and limits let through.
    """

    def __init__(self) -> None:
        self.runs: dict[Run, str | None] = {}
        self.tasks: dict[TaskInstanceKey, str] = {}
        self.last = 0.0
        self.most = 0
        self._occupied = 0

    def feed(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, TaskInstanceEvent):
            self.feed_task(event)
        elif isinstance(event, DagRunEvent):
            self.feed_run(event)

    def all_runs(self) -> set[Run]:
        """Return the runs that have not ended, or have task instances that have not."""
        return {*self.runs, *(run_of(ti) for ti in self.tasks)}

    def has_seen_more(self) -> bool:
        """Tell whether more was queued or running at once before than is now."""
        return self._occupied < self.most

    def feed_task(self, event: TaskInstanceEvent) -> None:
        """Follow a change of a task instance."""
        old, new = event.old, event.new
        state = new.state if new is not None else None
        if old is not None and new is not None and old.state == state:
            return
        if event.t > self.last:
            self.last = event.t
        if state in _UNENDED:
            before = self.tasks.get(event.ti)
            self.tasks[event.ti] = state
        else:
            before = self.tasks.pop(event.ti, None)
        occupies = state in _OCCUPIES
        if occupies != (before in _OCCUPIES):
            self._occupied += 1 if occupies else -1
            if self._occupied > self.most:
                self.most = self._occupied

    def feed_run(self, event: DagRunEvent) -> None:
        """Follow a change of a run."""
        self.last = max(self.last, event.t)
        run = (event.dag_id, event.run_id)
        if event.op == "delete" or event.new in RUN_FINISHED:
            self.runs.pop(run, None)
        else:
            self.runs[run] = event.new
