"""Is every worker that was sent to run a task instance let start it?"""

from collections.abc import Iterable

from oracle.distinct import Distinct
from oracle.events import (
    AnswerEvent,
    Header,
    PodEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.invariants.base import Invariant, Violation
from oracle.states import QUEUED, REMOVED, RUNNING, SCHEDULED, SKIPPED, shown

TRIES_ARE_UP = -1
"""Stands for every try: the task instance itself was deleted. Not so where a row is an attempt:
what comes under the name of a superseded one is other work, which starts with its own tries."""

_BEFORE_START = frozenset({SCHEDULED, QUEUED})


class ValidStart(Invariant):
    """A pod that starts finds its task instance queued and its own.

    The execution API refuses it otherwise: 409 `invalid_state` if something else happened to
    the task instance meanwhile, 404 `not_found` if its id is of the past (from 3.1.8 on an orphan
    reset gives a new one). Refused by design is a worker whose try was called off before it
    began: by a user (clear, mark, delete), by a dagrun_timeout or fail_fast (SKIPPED), by a
    change of the DAG (REMOVED), or whose pod was told to go before it started. To a worker, its
    try has not begun until its request is answered: one whose requests all ran into their time-out,
    as with a slow API server, is refused by design where a user has taken what was RUNNING by then.
    """

    name = "valid-start"
    promise = "A worker that was sent to run a task instance may start it"
    evidence = WorkerEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._called_off: dict[TaskInstanceKey, set[int]] = {}
        self._told_to_go = Distinct()
        self._answers = header.answers
        self._begun = Distinct()
        self._rotates = header.attempts == "row-per-attempt"

    def heeds_pod(self, event: PodEvent) -> bool:
        """Want those that are told to go before they end."""
        return event.deleting and event.phase in ("Pending", "Running")

    def on_pod(self, event: PodEvent) -> None:
        """Remember which pods were told to go."""
        if self.heeds_pod(event):
            self._told_to_go.add(event.uid)

    def on_answer(self, event: AnswerEvent) -> None:
        """Remember which tries a worker knows to have begun."""
        if event.request == "run" and event.acknowledged:
            self._begun.add((event.ti, event.try_number))

    def on_worker(self, event: WorkerEvent) -> Iterable[Violation]:
        """Report a refusal, unless something before it called the start off."""
        refused = event.refused
        if refused is None or event.uid in self._told_to_go or self._was_called_off(event):
            return ()
        found = f", found {shown(refused.previous_state)}" if refused.previous_state else ""
        fact = f"pod {event.pod} was refused: {refused.status} {refused.reason or ''}".rstrip()
        return (self.violation(fact + found, event.ti, event.t, event),)

    def _was_called_off(self, event: WorkerEvent) -> bool:
        if event.ti is None:
            return False
        tries = self._called_off.get(event.ti, ())
        if event.try_number is None:
            return bool(tries)
        return event.try_number in tries or TRIES_ARE_UP in tries

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what calls a try off, or all of them."""
        if event.old is None or event.new is None:
            return event.old is not None
        if event.old.state == RUNNING:
            return (
                self._answers
                and event.new.state != RUNNING
                and not self.is_scheduler(event.process)
            )
        if event.old.state not in _BEFORE_START or event.new.state in _BEFORE_START:
            return False
        if self.is_scheduler(event.process):
            return event.new.state in (SKIPPED, REMOVED)
        return event.new.state != RUNNING

    def on_ti(self, event: TaskInstanceEvent) -> None:
        """Remember which tries were called off; a worker that has begun says itself how it ends."""
        if event.old is None or not self.heeds_ti(event):
            return
        if event.old.state == RUNNING and (event.ti, event.old.try_number) in self._begun:
            return
        all_of_them = event.new is None and not self._rotates
        tries = TRIES_ARE_UP if all_of_them else event.old.try_number
        self._called_off.setdefault(event.ti, set()).add(tries)
