"""Is work that the user's code completed taken for done?"""

from collections.abc import Iterable
from dataclasses import dataclass

from oracle.distinct import Distinct
from oracle.ends import KILLED
from oracle.events import (
    FaultEvent,
    Header,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.invariants.base import Disturbances, Invariant, Violation
from oracle.states import FAILED, FINISHED, RESTARTING, UP_FOR_RETRY, shown

_DONE_WITH = FINISHED | {UP_FOR_RETRY, RESTARTING, None}
"""What a row may say after its work was completed that is of any interest."""


@dataclass(slots=True)
class _Completion:
    """An execution that completed, of which no row says so yet; `reset` took its row back."""

    began: float
    end: LedgerEvent
    reset: TaskInstanceEvent | None = None


class CompletedWorkStands(Invariant):
    """Between the last line of the user's code and its row's SUCCESS lies Airflow's own work.

    Told by the code itself, as in executed-once, which forgives a second completion when the first
    could not be reported; here that is asked. Undisturbed is an execution if from its start on no
    fault and no hold was on, and its worker was not killed from outside. A user may clear
    it, or mark it once it has ended: then it is done with.
    """

    name = "completed-work-stands"
    promise = "Undisturbed, work that completed is neither recorded as failed nor done again"
    evidence = LedgerEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._began: dict[TaskInstanceKey, float] = {}
        self._completed: dict[TaskInstanceKey, _Completion] = {}
        self._killed = Distinct()
        self._disturbances = Disturbances()

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs."""
        self._disturbances.feed(event)

    on_hold = on_fault

    def heeds_pod(self, event: PodEvent) -> bool:
        """Want those whose worker was killed from outside, deleted and evicted ones too."""
        if event.exit_code is None:
            return event.deleting or event.op == "deleted" or event.phase == "Failed"
        return event.exit_code in KILLED

    def on_pod(self, event: PodEvent) -> None:
        """Remember whose worker was killed from outside."""
        if self.heeds_pod(event):
            self._killed.add(event.name)

    def on_worker(self, event: WorkerEvent) -> None:
        """Remember whose worker was killed from outside."""
        if event.exit_code in KILLED:
            self._killed.add(event.pod)

    def on_ledger(self, event: LedgerEvent) -> Iterable[Violation]:
        """Remember what completed; report what did so again."""
        if event.op == "start":
            self._began[event.ti] = event.t
            return ()
        began = self._began.pop(event.ti, event.t)
        if event.op == "fail":
            return ()
        before = self._completed.get(event.ti)
        self._completed[event.ti] = _Completion(began, event)
        if before is None or before.reset is None:
            return ()
        fact = (
            f"it completed in {before.end.where}, "
            f"{before.reset.process} set it NONE, and it completed again in pod {event.pod}"
        )
        return (self.violation(fact, event.ti, event.t, before.end, before.reset, event),)

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what may be done with a completion."""
        return event.new is None or event.new.state in _DONE_WITH

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Follow each completion until its row says success."""
        if not self._completed or event.ti not in self._completed:
            return ()
        old, new, done = event.old, event.new, self._completed[event.ti]
        if old is None or (new is not None and new.state == old.state):
            return ()
        state = new.state if new else None
        # RESTARTING is what a user made of it while it worked: its worker was not ended in time.
        failed = state in (FAILED, UP_FOR_RETRY) and old.state not in FINISHED | {RESTARTING}
        if failed and old.try_number == done.end.try_number:
            del self._completed[event.ti]
            if self._was_disturbed(done):
                return ()
            fact = (
                f"it completed in {done.end.where}, and "
                f"{event.process} set it {shown(old.state)} -> {shown(state)}"
            )
            return (self.violation(fact, event.ti, event.t, done.end, event),)
        if new is None or state in FINISHED or RESTARTING in (state, old.state):
            del self._completed[event.ti]
        elif state is None:
            if not self.is_scheduler(event.process) or self._was_disturbed(done):
                del self._completed[event.ti]
            else:
                done.reset = event
        return ()

    def _was_disturbed(self, done: _Completion) -> bool:
        disturbances = self._disturbances
        killed = done.end.pod in self._killed
        return killed or bool(disturbances.on) or disturbances.last_end >= done.began
