"""Of an observation of days the logs that tell something are kept, and not all of them."""

from types import SimpleNamespace
from typing import cast

from oracle.events import PodEvent, Refusal, TaskInstanceKey, WorkerEvent
from oracle.invariants import Violation
from run.workers import Workers


def worker(number: int, exit_code: int = 0, refused: Refusal | None = None) -> WorkerEvent:
    ti = TaskInstanceKey("d", "r", f"t{number}")
    return WorkerEvent(float(number), f"pod-{number:02}", "uid", ti, 1, exit_code, refused)


def test_all_are_kept_of_a_run_that_nobody_limits() -> None:
    workers = Workers(None)
    workers.feed(PodEvent(0.0, "added", "no worker of ours", "uid"))
    for number in (3, 1, 2, 1):
        workers.feed(worker(number))
    assert workers.names() == ["pod-01", "pod-02", "pod-03"]


def test_failed_refused_and_broken_ones_come_first_then_the_newest() -> None:
    workers = Workers(5)
    broken = cast(Violation, SimpleNamespace(ti=TaskInstanceKey("d", "r", "t4")))
    for number in range(20):
        refused = Refusal(409, "invalid_state", None, "") if number == 2 else None
        violations = (broken,) if number == 6 else ()
        workers.feed(worker(number, int(number == 1), refused), violations)
    assert workers.names() == ["pod-01", "pod-02", "pod-04", "pod-18", "pod-19"]


def test_what_comes_of_a_broken_one_later_is_kept_too() -> None:
    workers = Workers(2)
    workers.feed(worker(1), (cast(Violation, SimpleNamespace(ti=worker(3).ti)),))
    for number in range(3, 9):
        workers.feed(worker(number))
    assert workers.names() == ["pod-03", "pod-08"]
