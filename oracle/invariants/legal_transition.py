"""Does every task instance move only along its state machine?

The state machine is that of Airflow 3.0 to 3.4, as its own code walks it, read from the wheels of
3.0.4, 3.0.6, 3.1.1, 3.1.8, 3.2.0, 3.3.2 and 3.4.0b2. Where a version is laxer than another, the
laxer one is written down: what a released Airflow does on purpose is legal here.
"""

import re
from collections.abc import Callable, Iterable

from oracle.events import ArchivedEvent, TaskInstanceEvent
from oracle.invariants.base import Invariant, Violation
from oracle.states import (
    AWAITING_INPUT,
    DEFERRED,
    FAILED,
    QUEUED,
    REMOVED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    SKIPPED,
    SUCCESS,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
    UPSTREAM_FAILED,
    Role,
    shown,
)

State = str | None

_BEGINS: set[State] = {SCHEDULED, DEFERRED, SUCCESS, SKIPPED, UPSTREAM_FAILED}
_EXECUTOR_SAYS: set[State] = {SUCCESS, FAILED, UP_FOR_RETRY}

SCHEDULER_MAY: dict[State, set[State]] = {
    # `DagRun.schedule_tis` (SUCCESS: an EmptyOperator; DEFERRED: start_trigger_args), the trigger
    # rules and the expansion of mapped tasks.
    None: _BEGINS,
    UP_FOR_RETRY: _BEGINS,
    UP_FOR_RESCHEDULE: _BEGINS,
    # `_executable_task_instances_to_queued`; NONE if its run has finished by then; what the
    # executor says of it (`process_executor_events`); SKIPPED by a dagrun_timeout or fail_fast.
    SCHEDULED: {QUEUED, None, SKIPPED} | _EXECUTOR_SAYS,
    # NONE: `adopt_or_reset_orphaned_tasks`. SCHEDULED: `_reschedule_stuck_task`, which keeps
    # the try; with a new try it is another scheduler's task instance that is overwritten.
    QUEUED: {SCHEDULED, None, SKIPPED} | _EXECUTOR_SAYS,
    # NONE: an orphan whose pod is gone. FAILED, UP_FOR_RETRY: no heartbeat, or a dead pod.
    RUNNING: {None, SKIPPED} | _EXECUTOR_SAYS,
    RESTARTING: {None, SKIPPED} | _EXECUTOR_SAYS,
    # `check_trigger_timeouts`, `check_awaiting_input_timeouts`.
    DEFERRED: {SCHEDULED, SKIPPED},
    AWAITING_INPUT: {SCHEDULED, SKIPPED},
    # Finished is finished; `DagRun.verify_integrity` brings a removed task back, and fail_fast
    # skips whatever is neither SUCCESS nor FAILED.
    SUCCESS: set(),
    FAILED: set(),
    SKIPPED: set(),
    UPSTREAM_FAILED: {SKIPPED},
    REMOVED: {None, SKIPPED},
}
"""From a state, where a scheduler may go. REMOVED is legal from everywhere: the task left its DAG,
or its mapping shrank (`DagRun.verify_integrity`, `_revise_map_indexes_if_mapped`)."""

API_SERVER_NEEDS: dict[State, set[State]] = {
    # The execution API, for workers: `ti_run`, `ti_update_state`.
    RUNNING: {QUEUED, RESTARTING},
    UP_FOR_RETRY: {RUNNING},
    UP_FOR_RESCHEDULE: {RUNNING},
    DEFERRED: {RUNNING},
    AWAITING_INPUT: {RUNNING},
    # A person's answer to a task that waits for it (3.1 and later).
    SCHEDULED: {AWAITING_INPUT, DEFERRED, RUNNING},
    # `clear_task_instances`.
    RESTARTING: {RUNNING},
    QUEUED: set(),
}
"""To get to a state, where the API server must come from. Its other targets are open: a user may
mark anything success, failed or skipped, and clear it. But what runs becomes RESTARTING when it is
cleared, and waits for its worker's end: without a state it would be queued beside it."""

TRIGGERER_MAY: set[State] = {SCHEDULED, SUCCESS, FAILED, SKIPPED, UP_FOR_RETRY}
"""Where a trigger's event takes a task instance that waits for it (`handle_event_submit`)."""


_MOVED = re.compile(r"\bmoved (?:it|the archived try \d+) ([A-Z_]+ -> [A-Z_]+)")


def transition_of(message: str) -> str:
    """Return the transition that a violation of this promise tells, as `SUCCESS -> QUEUED`."""
    found = _MOVED.search(message)
    return found[1] if found else ""


class LegalTransition(Invariant):
    """A process changes a state only from where its own code expects it.

    A scheduler that writes SCHEDULED over QUEUED, RUNNING or SUCCESS acts on rows that it read
    before somebody else's commit. Rows that are inserted or deleted have no move to judge. An
    archived attempt (3.4) is history: whatever else of it is written late, its state is not.
    """

    name = "legal-transition"
    promise = (
        "A task instance moves only along its state machine, "
        "and no scheduler overwrites RUNNING or SUCCESS"
    )
    evidence = TaskInstanceEvent

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what is wrong."""
        return self._wrong(event) is not None

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Look one change up in the table of its process."""
        wrong = self._wrong(event)
        if wrong is None:
            return ()
        return (self.violation(f"{event.process} moved it {wrong}", event.ti, event.t, event),)

    def _wrong(self, event: TaskInstanceEvent) -> str | None:
        old, new = event.old, event.new
        if old is None or new is None:
            return None
        raised = new.try_number > old.try_number
        return illegal(self._roles.of(event.process), old.state, new.state, raised)

    def on_archived(self, event: ArchivedEvent) -> Iterable[Violation]:
        """Report whatever process of Airflow's moves an archived attempt."""
        if self._roles.of(event.process) == "other":
            return ()
        move = f"{shown(event.old.state)} -> {shown(event.new.state)}"
        fact = f"{event.process} moved the archived try {event.old.try_number} {move}"
        return (self.violation(fact, event.ti, event.t, event),)


def illegal(role: Role, old: State, new: State, raised: bool) -> str | None:
    """Say what is wrong with a move from `old` to `new`; None if a released Airflow makes it.

    `raised` tells whether try_number went up with it. Processes that are no part of Airflow's
    daemons, a person's psql or CLI, may do as they like; so may a state that this table, made
    for 3.0 to 3.4, does not know.
    """
    if old == new:
        return None
    wrong = _WRONG[role](old, new, raised) if role in _WRONG else None
    return f"{shown(old)} -> {shown(new)}{wrong}" if wrong else None


def _scheduler(old: State, new: State, raised: bool) -> str | None:
    if old == QUEUED and new == SCHEDULED and raised:
        return " with a new try; a queued task instance is requeued in the same try"
    if new == REMOVED or old not in SCHEDULER_MAY or new in SCHEDULER_MAY[old]:
        return None
    return ", which no scheduler may do"


def _api_server(old: State, new: State, _raised: bool) -> str | None:
    if new is None and old == RUNNING:
        return ", though a cleared task that runs waits for its worker's end"
    legal = new not in API_SERVER_NEEDS or old in API_SERVER_NEEDS[new]
    return None if legal else ", which the API allows no worker and no user"


def _triggerer(old: State, new: State, _raised: bool) -> str | None:
    legal = old in (DEFERRED, AWAITING_INPUT) and new in TRIGGERER_MAY
    return None if legal else ", which no triggerer may do"


_WRONG: dict[Role, Callable[[State, State, bool], str | None]] = {
    "scheduler": _scheduler,
    "api-server": _api_server,
    "triggerer": _triggerer,
}
