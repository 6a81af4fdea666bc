"""Whatever a sound Airflow does in whatever order is valid; one stale write in it is not."""

import random
from collections.abc import Iterator

import pytest

from oracle.events import (
    DagRunEvent,
    End,
    Event,
    Header,
    LedgerEvent,
    PodEvent,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.verdict import Judge, Judgement

SCHEDULERS = ["scheduler-1", "scheduler-2"]
HEADER = Header(1, "properties", "3.0.6", "embedded", SCHEDULERS, 1, 0.0)
TI = TaskInstanceKey("d", "r1", "start")
SEEDS = range(150)
OUTCOMES = ["success", "fail", "reschedule", "defer", "killed", "orphan", "stuck", "clear"]


class SoundAirflow:
    """One task instance in an Airflow that keeps its promises, with all that may befall it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._t = 0.0
        self._row = Row("id-0")
        self._pods = 0
        self._job = 1

    def live(self) -> Iterator[Event]:
        """Tell its life from its run's creation to its run's end."""
        yield DagRunEvent(0.0, "insert", "d", "r1", None, "running", "api-server")
        yield TaskInstanceEvent(0.0, "insert", TI, None, self._row, "api-server")
        for _ in range(6):
            yield from self._execute(self._random.choice(OUTCOMES))
            if self._row.state == "success":
                break
        else:
            yield from self._execute("success")
        yield DagRunEvent(self._next(), "update", "d", "r1", "running", "success", "scheduler-1")

    def _execute(self, outcome: str) -> Iterator[Event]:
        kept = self._row.state == "up_for_reschedule"
        if self._row.state == "deferred":
            yield self._to("triggerer", "scheduled")
        else:
            yield self._to(self._scheduler(), "scheduled", tries=0 if kept else 1)
        yield self._to(self._scheduler(), "queued")
        yield from self._before_start() if outcome in ("orphan", "stuck") else self._work(outcome)
        if outcome == "orphan":
            yield self._to("scheduler-2", None)
            self._job += 1
        elif outcome == "stuck":
            for _ in range(2):
                yield self._to("scheduler-1", "scheduled")
                yield self._to("scheduler-1", "queued")
            yield self._to("scheduler-1", "failed")
            yield self._to("api-server", None)

    def _before_start(self) -> Iterator[Event]:
        pod = self._pod()
        yield self._told(pod, "Pending")
        yield PodEvent(self._next(), "deleted", pod, pod, TI, self._row.try_number, "Pending")

    def _work(self, outcome: str) -> Iterator[Event]:
        pod, attempt = self._pod(), self._row.try_number
        yield self._told(pod, "Running")
        yield self._to("api-server", "running")
        yield LedgerEvent(self._next(), "start", TI, attempt, pod, 7)
        if outcome in ("success", "clear"):
            yield LedgerEvent(self._next(), "end", TI, attempt, pod, 7)
            yield self._to("api-server", "success")
        elif outcome == "fail":
            yield LedgerEvent(self._next(), "fail", TI, attempt, pod, 7)
            yield self._to("api-server", "up_for_retry")
        elif outcome in ("reschedule", "defer"):
            state = "up_for_reschedule" if outcome == "reschedule" else "deferred"
            yield self._to("api-server", state)
        yield self._told(pod, "Failed" if outcome == "killed" else "Succeeded")
        yield WorkerEvent(self._next(), pod, pod, TI, attempt, 0)
        if outcome == "killed":
            yield self._to("scheduler-1", "up_for_retry")
        elif outcome == "clear":
            yield self._to("api-server", None)

    def _to(self, process: str, state: str | None, tries: int = 0) -> TaskInstanceEvent:
        old = self._row
        self._row = Row(old.id, state, old.try_number + tries, 4, self._job)
        return TaskInstanceEvent(self._next(), "update", TI, old, self._row, process)

    def _told(self, pod: str, phase: str) -> PodEvent:
        return PodEvent(self._next(), "modified", pod, pod, TI, self._row.try_number, phase)

    def _pod(self) -> str:
        self._pods += 1
        return f"pod-{self._pods}"

    def _scheduler(self) -> str:
        return self._random.choice(SCHEDULERS)

    def _next(self) -> float:
        self._t += self._random.uniform(0.01, 2.0)
        return self._t


def judged(events: list[Event]) -> Judgement:
    judge = Judge(HEADER)
    for event in events:
        judge.feed(event)
    judge.feed(End(events[-1].t + 1.0, len(events)))
    return judge.conclude()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_airflow_is_valid_whatever_befalls_it(seed: int) -> None:
    judgement = judged(list(SoundAirflow(seed).live()))
    assert [v.message for v in judgement.violations] == []
    assert judgement.verdict == "valid"


@pytest.mark.parametrize("seed", SEEDS)
def test_one_schedule_from_stale_rows_is_caught_wherever_it_falls(seed: int) -> None:
    events = list(SoundAirflow(seed).live())
    places = [
        index
        for index, event in enumerate(events)
        if isinstance(event, TaskInstanceEvent)
        and event.new is not None
        and event.new.state in ("scheduled", "queued", "running", "success")
    ]
    place = random.Random(seed).choice(places)
    before = events[place]
    assert isinstance(before, TaskInstanceEvent)
    assert before.new is not None
    old = before.new
    new = Row(old.id, "scheduled", old.try_number + 1, 4, 1)
    stale = TaskInstanceEvent(before.t, "update", TI, old, new, "scheduler-2")
    judgement = judged([*events[: place + 1], stale, *events[place + 1 :]])
    named = "retry-after-end" if old.state == "success" else "unique-try"
    assert judgement.verdict == "invalid"
    assert judgement.by_invariant[named] >= 1
