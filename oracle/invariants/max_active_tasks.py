"""Are no more task instances of a run at work at once than its DAG allows?"""

from collections.abc import Iterable

from oracle.distinct import Distinct
from oracle.events import Header, Row, RowEvent, TaskInstanceEvent
from oracle.invariants.base import Violation
from oracle.invariants.commits import AtCommits
from oracle.states import QUEUED, RUNNING

_AT_WORK = frozenset({QUEUED, RUNNING})


class MaxActiveTasks(AtCommits):
    """`max_active_tasks` is, since Airflow 3, a limit of each run by itself.

    Schedulers queue a run's task instances (`_executable_task_instances_to_queued`) and count
    those that are queued or running before. What an executor or a worker does takes nothing.
    """

    name = "max-active-tasks"
    promise = "No more task instances of a run are queued or running at once than max_active_tasks"
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._limits: dict[str, int] = {}
        self._at_work: dict[tuple[str, str], set[int]] = {}
        self._begun: dict[tuple[str, str], TaskInstanceEvent] = {}
        self._judged = Distinct()

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Learn a limit."""
        found = list(self.begin(event))
        if event.table == "dag" and event.new and event.new.get("max_active_tasks"):
            self._limits[str(event.new["dag_id"])] = int(event.new["max_active_tasks"])
        return found

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what begins or ends to be at work."""
        return _at_work(event.old) != _at_work(event.new)

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Count it."""
        if not self.heeds_ti(event):
            return ()
        found = list(self.begin(event))
        run = (event.ti.dag_id, event.ti.run_id)
        if not _at_work(event.new):
            if left := self._at_work.get(run):
                left.discard(hash(event.ti))
                if not left:
                    del self._at_work[run]
            return found
        self._at_work.setdefault(run, set()).add(hash(event.ti))
        if self.is_scheduler(event.process):
            self._begun[run] = event
        return found

    def over(self) -> Iterable[Violation]:
        """Compare what is at work with what may be, where a scheduler queued something."""
        begun, self._begun = self._begun, {}
        for run, event in begun.items():
            limit = self._limits.get(run[0])
            if limit is None:
                continue
            self._judged.add(event.ti)
            if (count := len(self._at_work.get(run, ()))) > limit:
                fact = f"{event.process} queued it, and then {count} were, of {limit}"
                yield self.violation(fact, event.ti, event.t, event)

    def abstention(self) -> str | None:
        """Say that no limit is known."""
        return super().abstention() or (
            None if len(self._judged) else "no limit of a DAG whose tasks were queued was recorded"
        )

    def judged(self) -> int | None:
        """Count the task instances after whose queueing a limit was looked at."""
        return len(self._judged)


def _at_work(row: Row | None) -> bool:
    return row is not None and row.state in _AT_WORK
