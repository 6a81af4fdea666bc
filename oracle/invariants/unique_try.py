"""Is a task instance scheduled once a try?"""

from collections.abc import Iterable

from oracle.distinct import Distinct
from oracle.events import Header, Row, TaskInstanceEvent
from oracle.invariants.base import Invariant, Violation
from oracle.states import (
    FINISHED,
    IN_TRY,
    QUEUED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RETRY,
    shown,
)

BEGINS_A_TRY = FINISHED | {None, UP_FOR_RETRY}
"""From here a task instance is scheduled only to a new try (`DagRun.schedule_tis`)."""

NOT_AGAIN = FINISHED | {RUNNING, RESTARTING}
"""From here no scheduler schedules an attempt, where a row is one."""


class UniqueTry(Invariant):
    """`try_number` goes up by one when a try begins, and only when none is going on.

    `DagRun.schedule_tis` raises it with the state SCHEDULED, except out of UP_FOR_RESCHEDULE. A
    trigger that fired, or the requeue of a task stuck in queued, sets SCHEDULED and keeps the
    try. This is the promise that apache/airflow#57618 breaks: the second scheduler, with stale
    rows in hand, raises it while the first one's try is scheduled, queued or running.

    Since 3.4 a try is a row of its own, which `schedule_tis` numbers only if it is the first. There
    the second scheduler would put the same row back to SCHEDULED. The requeue of a task stuck in
    queued does that too, but takes the row from its scheduler (`_reschedule_stuck_task` clears
    `queued_by_job_id`).
    """

    name = "unique-try"
    promise = "A task instance is scheduled once a try"
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._scheduled = Distinct()
        self._fact = _attempt_fact if header.attempts == "row-per-attempt" else _fact

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what is scheduled, and what is wrong."""
        old, new = event.old, event.new
        if old is None or new is None:
            return False
        return new.state == SCHEDULED or self._fact(old, new) is not None

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Compare the try before and after a change; remembers only whom it saw scheduled."""
        old, new = event.old, event.new
        if old is None or new is None:
            return ()
        if new.state == SCHEDULED:
            self._scheduled.add(event.ti)
        fact = self._fact(old, new)
        if fact is None:
            return ()
        return (self.violation(f"{event.process} {fact}", event.ti, event.t, event),)

    def judged(self) -> int | None:
        """Count the task instances that were seen scheduled."""
        return len(self._scheduled)


def _fact(old: Row, new: Row) -> str | None:
    if new.try_number == old.try_number:
        if new.state == SCHEDULED and old.state in BEGINS_A_TRY:
            return f"scheduled it from {shown(old.state)} with no new try: {_tries(old, new)}"
        return None
    if new.try_number < old.try_number:
        return f"set it back: {_tries(old, new)}"
    if old.state in IN_TRY:
        return f"raised {_tries(old, new)} while try {old.try_number} was {shown(old.state)}"
    if new.try_number > old.try_number + 1:
        return f"skipped a try: {_tries(old, new)}"
    return None


def _tries(old: Row, new: Row) -> str:
    return f"try_number {old.try_number} -> {new.try_number}"


def _attempt_fact(old: Row, new: Row) -> str | None:
    if new.try_number < old.try_number:
        return f"set it back: {_tries(old, new)}"
    if new.id != old.id:
        made = new.try_number - old.try_number
        return None if made == 1 else f"made an attempt that does not follow: {_tries(old, new)}"
    if new.try_number > old.try_number:
        first = (old.try_number, new.try_number) == (0, 1) and old.state not in IN_TRY
        return None if first else f"raised {_tries(old, new)} in the row of try {old.try_number}"
    if new.state != SCHEDULED or old.state == SCHEDULED:
        return None
    if old.state is None and new.try_number == 0:
        return f"scheduled it from NONE with no try: {_tries(old, new)}"
    taken_back = old.state == QUEUED and new.queued_by_job_id is None
    again = old.state in NOT_AGAIN or (old.state == QUEUED and not taken_back)
    return (
        f"scheduled try {new.try_number} again while it was {shown(old.state)}" if again else None
    )
