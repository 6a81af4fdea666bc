"""Have the runs of a DAG ended that is paused because it was drained?"""

from collections import defaultdict
from collections.abc import Iterable

from oracle.events import DagRunEvent, Header, RowEvent
from oracle.invariants.base import Violation
from oracle.invariants.commits import AtCommits
from oracle.states import FAILED, SUCCESS


class DrainedDag(AtCommits):
    """Who drains a DAG (Airflow 3.4) has its runs come to their end, and the DAG paused after that.

    A scheduler pauses it. Whatever it has accepted by then is to be run, and what was cleared to be
    run again: of a paused DAG no run begins, and nobody is told of one that waits. A DAG may be
    paused for another reason meanwhile: by a person, or since a run of it has failed once too often
    (max_consecutive_failed_dag_runs), in the transaction that has the run fail. Not judged is what
    was there before the recording.
    """

    name = "drained-dag"
    promise = "A DAG that is drained is paused when its runs have ended, and not before"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._unended: defaultdict[str, dict[str, DagRunEvent]] = defaultdict(dict)
        self._failed: set[str] = set()
        self._paused: RowEvent | None = None
        self._judged = 0

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Follow which runs have not ended."""
        found = list(self.begin(event))
        if event.new in (SUCCESS, FAILED, None):
            self._unended[event.dag_id].pop(event.run_id, None)
        elif event.op == "insert" or event.old in (SUCCESS, FAILED):
            self._unended[event.dag_id][event.run_id] = event
        if event.new == FAILED:
            self._failed.add(event.dag_id)
        return found

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Take note of a scheduler that ends the draining of a DAG."""
        found = list(self.begin(event))
        old, new = event.old, event.new
        drained = event.table == "dag" and old and old.get("is_draining") and new
        if drained and new and new.get("is_paused") and self.is_scheduler(event.process):
            self._paused = event
        return found

    def over(self) -> Iterable[Violation]:
        """Look for what has not ended when a DAG was paused."""
        paused, self._paused = self._paused, None
        failed, self._failed = self._failed, set()
        dag_id = str(paused.new["dag_id"]) if paused and paused.new else ""
        if paused is None or dag_id in failed:
            return
        self._judged += 1
        left = list(self._unended[dag_id].values())
        if left:
            named = ", ".join(f"{each.run_id} ({_came(each)} by {each.process})" for each in left)
            fact = f"{paused.process} paused {dag_id} before {named} had ended"
            yield self.violation(fact, None, paused.t, *left, paused)

    def abstention(self) -> str | None:
        """Say that no DAG was drained."""
        return super().abstention() or (None if self._judged else "no DAG was drained")

    def judged(self) -> int | None:
        """Count the DAGs that were drained, each time."""
        return self._judged

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "drained DAGs"


def _came(event: DagRunEvent) -> str:
    """Return how a run came to be one that has not ended."""
    return "made" if event.op == "insert" else f"{event.new} again"
