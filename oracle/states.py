"""Airflow's task instance states, grouped by what they mean to an invariant, and who is who.

The groups follow `airflow.utils.state` of 3.0 to 3.4; None is the state of a task instance that
no scheduler has picked yet, or that was cleared.
"""

from collections.abc import Iterable
from typing import Final, Literal

SCHEDULED: Final = "scheduled"
QUEUED: Final = "queued"
RUNNING: Final = "running"
RESTARTING: Final = "restarting"
DEFERRED: Final = "deferred"
AWAITING_INPUT: Final = "awaiting_input"
UP_FOR_RETRY: Final = "up_for_retry"
UP_FOR_RESCHEDULE: Final = "up_for_reschedule"
SUCCESS: Final = "success"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
UPSTREAM_FAILED: Final = "upstream_failed"
REMOVED: Final = "removed"

FINISHED = frozenset({SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED, REMOVED})

SUSPENDED = frozenset({UP_FOR_RESCHEDULE, DEFERRED, AWAITING_INPUT})
"""Between two executions of one try: the task gave its slot back and will go on."""

WAITING = SUSPENDED | {UP_FOR_RETRY}
"""Nothing is due before a time or an event that a history does not know."""

IN_HAND = frozenset({SCHEDULED, QUEUED, RUNNING, RESTARTING})
"""Some process of Airflow has to act next."""

IN_TRY = IN_HAND | SUSPENDED
"""A try was scheduled and has not ended."""

RUN_FINISHED = frozenset({SUCCESS, FAILED})

Role = Literal["scheduler", "api-server", "triggerer", "other"]


def shown(state: str | None) -> str:
    """Give a state as Airflow's code and people write it: QUEUED, NONE."""
    return "NONE" if state is None else state.upper()


class Roles:
    """Tells from a process' name what it is.

    The schedulers are those that the header lists; since a restarted pod has a new name, a name
    that says what it is counts too. Workers change rows only through the API server, so an
    `api-server` speaks for them and for users alike.
    """

    def __init__(self, schedulers: Iterable[str]) -> None:
        self._known = _Known(dict.fromkeys(schedulers, "scheduler"))

    def of(self, process: str) -> Role:
        """Say which part of Airflow the process is."""
        return self._known[process]


class _Known(dict[str, Role]):
    def __missing__(self, process: str) -> Role:
        role = self[process] = _guess(process)
        return role


def _guess(process: str) -> Role:
    if "scheduler" in process:
        return "scheduler"
    if "api-server" in process:
        return "api-server"
    return "triggerer" if "triggerer" in process else "other"
