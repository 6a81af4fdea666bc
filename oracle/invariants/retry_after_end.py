"""Does a try follow only one that ended badly, was cleared or rescheduled?"""

from collections.abc import Iterable

from oracle.events import Header, Row, TaskInstanceEvent, TaskInstanceKey
from oracle.invariants.base import Invariant, Violation
from oracle.states import (
    REMOVED,
    RESTARTING,
    SKIPPED,
    SUCCESS,
    UP_FOR_RETRY,
    UPSTREAM_FAILED,
    shown,
)

NOT_BAD = frozenset({SUCCESS, SKIPPED, UPSTREAM_FAILED, REMOVED})
"""Ends that no scheduler may follow with another try; FAILED is one it may, by this promise."""

FORGIVEN = frozenset({None, RESTARTING, REMOVED})
"""Cleared, cleared while running, or out of the DAG: what was before does not count any more."""


class RetryAfterEnd(Invariant):
    """Work that was done well is not done again unless somebody asks for it.

    A try that is still going on belongs to unique-try; here the try had ended, and not badly.
    A success that is first overwritten with UP_FOR_RETRY and then tried again is the known case
    (collateral of apache/airflow#57618), so a success is remembered until it is cleared.

    Since 3.4 the next try is a row that is made when the one before has ended, or when it is
    cleared; what a clear makes has no state yet.
    """

    name = "retry-after-end"
    promise = (
        "The next try starts only after the one before ended badly, was cleared or rescheduled"
    )
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._begins = _makes_the_next if header.attempts == "row-per-attempt" else _raises
        self._success_lost: set[TaskInstanceKey] = set()

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what begins a try, and what a success is overwritten with or forgiven by."""
        old, new = event.old, event.new
        if old is None or new is None:
            return False
        of_success = SUCCESS in (old.state, new.state) or new.state in FORGIVEN
        return of_success or self._begins(old, new)

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Look at how the try before had ended whenever a try begins."""
        old, new = event.old, event.new
        if old is None or new is None:
            return ()
        if not self._begins(old, new):
            self._remember(event.ti, old.state, new.state)
            return ()
        ended = SUCCESS if event.ti in self._success_lost else old.state
        self._success_lost.discard(event.ti)
        if ended not in NOT_BAD:
            return ()
        fact = (
            f"{event.process} scheduled try {new.try_number} "
            f"after try {old.try_number} had ended in {shown(ended)}"
        )
        return (self.violation(fact, event.ti, event.t, event),)

    def _remember(self, ti: TaskInstanceKey, old: str | None, new: str | None) -> None:
        if new in FORGIVEN or new == SUCCESS:
            self._success_lost.discard(ti)
        elif old == SUCCESS:
            self._success_lost.add(ti)


def _raises(old: Row, new: Row) -> bool:
    return new.try_number > old.try_number


def _makes_the_next(old: Row, new: Row) -> bool:
    return new.id != old.id and new.state == UP_FOR_RETRY
