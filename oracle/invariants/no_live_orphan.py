"""Is a task instance left to the scheduler that queued it, for as long as that one lives?"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from oracle.events import (
    LAB_HEALTHY_AFTER,
    AssumptionEvent,
    FaultEvent,
    Header,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from oracle.invariants.base import Invariant, Violation, Violations
from oracle.states import QUEUED, RUNNING

YOUNG_SECONDS = 10.0
"""A reset that comes so soon after the queueing is no verdict on a silent scheduler: who queues was
alive then, and `[scheduler] scheduler_health_check_threshold` is three times as long by default. A
row of `job` may tell a heartbeat ten seconds older than the last one, so this is no more."""

SETTLE_SECONDS = 1.0
"""A watch tells a pod some time after it was made; one told sooner after the reset than this may
have been made before it."""


KILL = "scheduler-kill"
"""The one fault whose end of a process no event of the process itself tells."""

FREEZES = frozenset({"scheduler-pause", "process-pause"})
"""Faults in which a scheduler gives no heartbeat."""


class _Taken(NamedTuple):
    queued: TaskInstanceEvent
    taken: TaskInstanceEvent
    how: str


class NoLiveOrphan(Invariant):
    """An orphan is what a scheduler that is gone has queued (`adopt_or_reset_orphaned_tasks`).

    Who takes one over resets it, or adopts it where it has a pod: then the row, and the pod's label
    `airflow-worker`, name another job, and two executors follow one pod.

    Schedulers are told apart by their job, which every start makes anew. To take over is wrong when
    the job that queued the task instance did so a moment before, and goes on afterwards: it queues
    something else, or makes a pod. What was killed does neither, and a scheduler that is held for
    dead because it was silent for long had queued nothing lately.

    Who is frozen at that moment is left out: an exploration has its heartbeats be as late as after
    an hour, also of what it queued just before.

    It may also find nothing left to do: then its process tells, where the lab watched that it never
    ended, nobody killed it, and it is healthy when all is over.
    """

    name = "no-live-orphan"
    promise = "No task instance is taken for an orphan while the scheduler that queued it lives"
    evidence = TaskInstanceEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._queued: dict[TaskInstanceKey, TaskInstanceEvent] = {}
        self._taken: defaultdict[str, list[_Taken]] = defaultdict(list)
        self._watched: set[str] = set()
        self._ended: set[str] = set()
        self._frozen: set[str] = set()

    def on_process(self, event: ProcessEvent) -> None:
        """Follow which processes were watched, and which of them ended."""
        (self._watched if event.op == "watched" else self._ended).add(event.process)

    def on_fault(self, event: FaultEvent) -> None:
        """Take who is killed for ended, and follow who is frozen."""
        if event.name == KILL and event.process:
            self._ended.add(event.process)
        if event.name in FREEZES and event.process:
            (self._frozen.add if event.op == "begin" else self._frozen.discard)(event.process)

    def heeds_pod(self, event: PodEvent) -> bool:
        """Want what a scheduler makes."""
        return event.op == "added" and event.owner is not None

    def on_pod(self, event: PodEvent) -> Violations:
        """Report what was taken young, where its scheduler makes a pod."""
        if event.op == "added" and event.owner is not None:
            return self._alive(event.owner, event, event.t - SETTLE_SECONDS)
        return None

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want all but what stays queued by the same one."""
        stays = event.new is not None and event.new.state == QUEUED and _was_queued(event)
        return not stays or _is_adopted(event)

    def on_ti(self, event: TaskInstanceEvent) -> Violations:
        """Remember what was taken young; report it where its scheduler queues something."""
        new = event.new
        if _is_adopted(event):
            self._take_note(event, "adopted")
            return None
        if new is not None and new.state == QUEUED:
            if new.queued_by_job_id is not None and not _was_queued(event):
                self._queued[event.ti] = event
                return self._alive(str(new.queued_by_job_id), event, event.t)
            return None
        if new is not None and new.state is None:
            self._take_note(event, "reset")
        elif new is None or new.state != RUNNING:
            self._queued.pop(event.ti, None)
        return None

    def _take_note(self, event: TaskInstanceEvent, how: str) -> None:
        """Remember who took a task instance, if it was young; it is another's from then on."""
        queued = self._queued.pop(event.ti, None)
        if queued is None or queued.new is None or event.old is None:
            return
        job = queued.new.queued_by_job_id
        young = event.t - queued.t < YOUNG_SECONDS
        frozen = queued.process in self._frozen
        taken = young and event.old.queued_by_job_id == job and not frozen
        if taken and self.is_scheduler(event.process):
            self._taken[str(job)].append(_Taken(queued, event, how))

    def _alive(self, job: str, sign: TaskInstanceEvent | PodEvent, until: float) -> Violations:
        return self._wrongs(job, sign, until) if job in self._taken else None

    def _wrongs(
        self, job: str, sign: TaskInstanceEvent | PodEvent, until: float
    ) -> Iterator[Violation]:
        found = self._taken.pop(job)
        if later := [each for each in found if each.taken.t >= until]:
            self._taken[job] = later
        deed = "made a pod" if isinstance(sign, PodEvent) else f"queued {sign.ti}"
        for each in found:
            if each.taken.t < until:
                yield self._wrong(each, f"{deed} {sign.t - each.taken.t:.1f} s later", sign)

    def on_assumption(self, end: AssumptionEvent) -> Iterator[Violation]:
        """Report what was taken young, where its scheduler lives when all is over."""
        if end.name != LAB_HEALTHY_AFTER or not end.met:
            return
        alive = self._watched - self._ended
        for each in chain.from_iterable(self._taken.values()):
            if each.queued.process in alive:
                yield self._wrong(each, "never ended", end)
        self._taken.clear()

    def _wrong(
        self, what: _Taken, deed: str, sign: TaskInstanceEvent | PodEvent | AssumptionEvent
    ) -> Violation:
        queued, taken, how = what
        fact = (
            f"{taken.process} {how} it {taken.t - queued.t:.1f} s after {queued.process} had "
            f"queued it, and {queued.process} {deed}"
        )
        return self.violation(fact, taken.ti, taken.t, queued, taken, sign)


def _is_adopted(event: TaskInstanceEvent) -> bool:
    """Tell whether a task instance in an executor's hand gets into another's."""
    old, new = event.old, event.new
    if old is None or new is None or old.state != new.state or new.state not in (QUEUED, RUNNING):
        return False
    return None is not new.queued_by_job_id != old.queued_by_job_id is not None


def _was_queued(event: TaskInstanceEvent) -> bool:
    return event.old is not None and event.old.state == QUEUED
