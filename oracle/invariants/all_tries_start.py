"""Does a task get all the tries that its author gave it?"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from oracle.ends import KILLED
from oracle.events import AnswerEvent, Header, PodEvent, TaskInstanceEvent, TaskInstanceKey
from oracle.invariants.base import Invariant, Violation
from oracle.states import FAILED, FINISHED, QUEUED, RESTARTING, RUNNING, SCHEDULED, shown

STUCK = 2
"""Requeues of a task stuck in queued after which Airflow fails it on purpose
([scheduler] num_stuck_in_queued_retries); each ends a start that never came."""


GIVES_UP = 5
"""Requests of a worker that nobody answers, after which it gives up, half a minute after its first
([workers] execution_api_retries)."""


@dataclass(slots=True)
class _Tries:
    """What became of a task instance's tries since it was made, or cleared."""

    before: int = 0
    started: set[int] = field(default_factory=set)
    requeued: int = 0
    unanswered: Counter[int] = field(default_factory=Counter)


class AllTriesStart(Invariant):
    """`retries` are for what the task's own code meets, and an author counts on each of them.

    A try that Airflow lost, by a reset, a refused pod, an error of an API, has used one up without
    a start. Judged is what fails with no try left; what fails earlier was failed by its own word
    (`AirflowFailException`) or by a user. A pod that was killed from outside took its try with it,
    however far its worker had come. So did an API server that answered none of its worker's
    requests to start, which is more than a passing error. Not judged is what was there before the
    recording.
    """

    name = "all-tries-start"
    promise = "A task instance has failed for good only after 1 + retries real starts"
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._tries: dict[TaskInstanceKey, _Tries] = {}
        self._judged = 0

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what is made, started, requeued, cleared, or over."""
        old, new = event.old, event.new
        if old is None or new is None:
            return True
        requeued = (old.state, new.state) == (QUEUED, SCHEDULED)
        cleared = new.state in (None, RESTARTING)
        return requeued or cleared or new.state == RUNNING or new.state in FINISHED

    def heeds_pod(self, event: PodEvent) -> bool:
        """Want those whose worker was killed from outside."""
        return event.exit_code in KILLED

    def on_pod(self, event: PodEvent) -> None:
        """Count a try whose worker was killed, maybe before it had said that it starts."""
        tries = self._tries.get(event.ti) if event.ti is not None else None
        if tries is not None and event.try_number is not None and self.heeds_pod(event):
            tries.started.add(event.try_number)

    def on_answer(self, event: AnswerEvent) -> None:
        """Count a try whose worker nobody answered until it gave up."""
        tries = self._tries.get(event.ti) if event.ti is not None else None
        number = event.try_number
        if tries is None or number is None or (event.request, event.by) != ("run", "api-server"):
            return
        tries.unanswered[number] = 0 if event.status else tries.unanswered[number] + 1
        if tries.unanswered[number] >= GIVES_UP:
            tries.started.add(number)

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Count starts by tries."""
        old, new = event.old, event.new
        if old is None and new is not None:
            self._tries[event.ti] = _Tries()
        tries = self._tries.get(event.ti)
        if tries is None or old is None or not self.heeds_ti(event):
            return ()
        if new is None or (new.state in FINISHED and new.state != FAILED):
            del self._tries[event.ti]
        elif new.state == RUNNING:
            tries.started.add(new.try_number)
        elif new.state == SCHEDULED:
            tries.requeued += 1
        elif new.state == FAILED:
            return self._over(event, tries)
        elif not self.is_scheduler(event.process):
            self._tries[event.ti] = _Tries(before=old.try_number)
        return ()

    def _over(self, event: TaskInstanceEvent, tries: _Tries) -> Iterable[Violation]:
        """Judge what has failed; a user may clear it, and then it counts anew."""
        old, new = event.old, event.new
        assert old is not None
        assert new is not None
        wanted = 1 + new.max_tries - tries.before
        if new.try_number <= new.max_tries or tries.requeued >= STUCK:
            return ()
        self._judged += 1
        if len(tries.started) >= wanted:
            return ()
        fact = (
            f"{event.process} set it {shown(old.state)} -> FAILED at try {new.try_number} of "
            f"{1 + new.max_tries}, and {len(tries.started)} of {wanted} had started"
        )
        return (self.violation(fact, event.ti, event.t, event),)

    def judged(self) -> int | None:
        """Count the task instances that failed with no try left."""
        return self._judged
