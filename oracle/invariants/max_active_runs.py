"""Are no more runs of a DAG at work at once than its author allows?"""

from collections.abc import Iterable

from oracle.distinct import Distinct
from oracle.events import DagRunEvent, Header, RowEvent
from oracle.invariants.base import Violation
from oracle.invariants.commits import AtCommits
from oracle.states import RUNNING

_Whose = tuple[str, int | None]
"""A DAG, and the backfill whose runs are counted apart from all others'."""


class MaxActiveRuns(AtCommits):
    """`max_active_runs` is how an author says that two runs must not meet: in a table, in a quota.

    Schedulers set runs RUNNING (`SchedulerJobRunner._start_queued_dagruns`), and count those that
    run before: by DAG, and apart from these by backfill, which has a limit of its own. A run that
    ran before the recording is not known, so there are never fewer than are counted. A limit that
    was lowered is no reason to end a run.
    """

    name = "max-active-runs"
    promise = "No more runs of a DAG are at work at once than its max_active_runs"
    evidence = DagRunEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._limits: dict[tuple[str, object], int] = {}
        self._running: dict[_Whose, dict[str, DagRunEvent]] = {}
        self._begun: dict[_Whose, DagRunEvent] = {}
        self._judged = Distinct()

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Learn a limit; one that changes is judged by what begins from then on."""
        found = list(self.begin(event))
        row = event.new
        if row and event.table in ("dag", "backfill") and row.get("max_active_runs"):
            key = row.get("dag_id") if event.table == "dag" else row.get("id")
            self._limits[event.table, key] = int(row["max_active_runs"])
        return found

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Count a run that begins or ends to be at work."""
        found = list(self.begin(event))
        whose = (event.dag_id, event.backfill)
        running = self._running.setdefault(whose, {})
        if event.new != RUNNING:
            running.pop(event.run_id, None)
        elif event.old != RUNNING:
            running[event.run_id] = event
            self._begun[whose] = event
        return found

    def over(self) -> Iterable[Violation]:
        """Compare what runs with what may, where something began."""
        begun, self._begun = self._begun, {}
        for whose, event in begun.items():
            limit = self._limit(*whose)
            if limit is None:
                continue
            self._judged.add((event.dag_id, event.run_id))
            running = self._running[whose]
            if event.run_id in running and len(running) > limit:
                yield self._exceeded(event, limit, list(running.values()))

    def _limit(self, dag_id: str, backfill: int | None) -> int | None:
        return self._limits.get(("dag", dag_id) if backfill is None else ("backfill", backfill))

    def _exceeded(self, event: DagRunEvent, limit: int, running: list[DagRunEvent]) -> Violation:
        others = [each for each in running if each is not event][-limit:]
        named = ", ".join(f"{each.run_id} (by {each.process})" for each in others)
        fact = (
            f"{event.process} set {event.run_id} of {event.dag_id} RUNNING as number {len(running)}"
            f" of {limit}, beside {named}"
        )
        return self.violation(fact, None, event.t, *others, event)

    def abstention(self) -> str | None:
        """Say that no limit is known."""
        return super().abstention() or (
            None if len(self._judged) else "no limit of a DAG that ran was recorded"
        )

    def judged(self) -> int | None:
        """Count the runs whose limit was known when they began to run."""
        return len(self._judged)
