"""Does a scheduler end a task instance only where it was told to?"""

from collections.abc import Iterable

from oracle.distinct import Distinct
from oracle.events import DagRunEvent, Header, PodEvent, TaskInstanceEvent, TaskInstanceKey
from oracle.invariants.base import Invariant, Violation
from oracle.states import FAILED, QUEUED, RUNNING, SKIPPED, SUCCESS

LATE = 5.0
"""Seconds by which our own watch of a pod may be behind a scheduler's."""


class NoInventedOutcome(Invariant):
    """RUNNING -> SKIPPED and QUEUED -> SUCCESS are in the state machine, each for one reason.

    A scheduler skips what runs where its run timed out (`dagrun_timeout`: the run is FAILED in the
    same transaction) or fails fast (another task instance of the run has failed). It takes a
    queued task instance for successful where the executor says so, and that says what a pod said
    which was made since it was queued: a pod that was there when it left QUEUED before is of that
    queueing, however late it ends. Without that it acts on rows that are no longer so, as
    `NotPreviouslySkippedDep` and the late exit of a deferred task's pod have done.
    """

    name = "no-invented-outcome"
    promise = (
        "A scheduler skips a running task instance only where its run timed out or fails fast, "
        "and finds a queued one successful only by its pod"
    )
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._failed = Distinct()
        self._queued: dict[TaskInstanceKey, bool] = {}
        self._live: dict[TaskInstanceKey, set[str]] = {}
        self._past = Distinct()
        self._skipped: list[TaskInstanceEvent] = []
        self._unsaid: dict[TaskInstanceKey, TaskInstanceEvent] = {}

    def heeds_pod(self, event: PodEvent) -> bool:
        """Want those that come, and those that end."""
        return event.op == "added" or event.over

    def on_pod(self, event: PodEvent) -> None:
        """Remember that a queued task instance's pod succeeded; our watch may be the later one."""
        if event.ti is None or not self.heeds_pod(event):
            return
        if not event.over:
            self._live.setdefault(event.ti, set()).add(event.uid)
            return
        if pods := self._live.get(event.ti):
            pods.discard(event.uid)
            if not pods:
                del self._live[event.ti]
        if not (event.exit_code == 0 or event.phase == "Succeeded") or event.uid in self._past:
            return
        if event.ti in self._queued:
            self._queued[event.ti] = True
        told = self._unsaid.get(event.ti)
        if told is not None and event.t - told.t <= LATE:
            del self._unsaid[event.ti]

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Remember which runs have failed."""
        found = list(self._due(event.xid, event.t))
        if event.new == FAILED:
            self._failed.add((event.dag_id, event.run_id))
        return found

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what is queued, what was, what fails, and what is skipped out of RUNNING."""
        old, new = event.old, event.new
        states = (old and old.state, new and new.state)
        return QUEUED in states or FAILED in states or states == (RUNNING, SKIPPED)

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Note what a scheduler sets; it is judged once all that belongs to it is known."""
        if not self.heeds_ti(event):
            return ()
        found = list(self._due(event.xid, event.t))
        state = event.new.state if event.new else None
        if state == FAILED:
            self._failed.add((event.ti.dag_id, event.ti.run_id))
        succeeded = self._queued.pop(event.ti, False)
        if state == QUEUED:
            self._queued[event.ti] = False
        if event.old is None:
            return found
        if event.old.state == QUEUED != state:
            for uid in self._live.get(event.ti, ()):
                self._past.add(uid)
        if not self.is_scheduler(event.process):
            return found
        if state == SKIPPED and event.old.state == RUNNING:
            self._skipped.append(event)
        elif state == SUCCESS and event.old.state == QUEUED and not succeeded:
            self._unsaid[event.ti] = event
        return found

    def _due(self, xid: int, t: float) -> Iterable[Violation]:
        """Judge what was skipped in another transaction, and what no pod has said until now."""
        if self._skipped and self._skipped[0].xid != xid:
            skipped, self._skipped = self._skipped, []
            for event in skipped:
                if (event.ti.dag_id, event.ti.run_id) not in self._failed:
                    yield self._wrong(
                        event, "RUNNING -> SKIPPED, and nothing of its run had failed"
                    )
        for event in [each for each in self._unsaid.values() if t - each.t > LATE]:
            del self._unsaid[event.ti]
            yield self._wrong(event, "QUEUED -> SUCCESS, and no pod of this queueing said so")

    def _wrong(self, event: TaskInstanceEvent, what: str) -> Violation:
        return self.violation(f"{event.process} moved it {what}", event.ti, event.t, event)

    def finish(self) -> Iterable[Violation]:
        """Judge what is left."""
        return self._due(-1, float("inf"))
