"""Has a DAG one backfill at a time?"""

from collections import defaultdict
from collections.abc import Iterable

from oracle.events import Header, RowEvent
from oracle.invariants.base import Violation
from oracle.invariants.commits import AtCommits


class OneBackfill(AtCommits):
    """Airflow refuses a backfill of a DAG that has one (409), so that no two want the same dates.

    A backfill is active until its `completed_at` is written. Each has a max_active_runs of its
    own, so two together run twice what either was allowed.
    """

    name = "one-backfill"
    promise = "A DAG has one active backfill at a time"
    evidence = RowEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._active: defaultdict[str, dict[int, RowEvent]] = defaultdict(dict)
        self._made: list[RowEvent] = []
        self._judged = 0

    def on_row(self, event: RowEvent) -> Iterable[Violation]:
        """Follow which backfills are active."""
        found = list(self.begin(event))
        row = event.new or event.old
        if event.table != "backfill" or row is None or not row.get("dag_id"):
            return found
        active, number = self._active[str(row["dag_id"])], int(row["id"])
        if event.new is None or event.new.get("completed_at"):
            active.pop(number, None)
        elif number not in active:
            active[number] = event
            if event.op == "insert":
                self._made.append(event)
        return found

    def over(self) -> Iterable[Violation]:
        """Look for another one where a backfill was made."""
        made, self._made = self._made, []
        for event in made:
            self._judged += 1
            row = event.new or {}
            dag_id = str(row["dag_id"])
            others = [each for each in self._active[dag_id].values() if each is not event]
            if others:
                named = ", ".join(f"backfill {(each.new or {})['id']}" for each in others)
                fact = f"{event.process} made backfill {row['id']} of {dag_id} beside {named}"
                yield self.violation(fact, None, event.t, *others, event)

    def abstention(self) -> str | None:
        """Say that there was no backfill."""
        return super().abstention() or (None if self._judged else "no backfill was made")

    def judged(self) -> int | None:
        """Count the backfills that were made."""
        return self._judged

    @classmethod
    def units(cls) -> str:
        """Say what it judges."""
        return "backfills"
