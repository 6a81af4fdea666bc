"""What the terminal says of a release, in a sentence that a stranger understands."""

from typing import Any

from harness.summary import headline


def record(verdict: str, **counts: int) -> dict[str, Any]:
    names = ("runs", "task_instances", "pods", "refused_starts", "double_executions")
    zero = dict.fromkeys((*names, "duplicate_pods", "duplicate_tries"), 0)
    return {"airflow": "3.x", "verdict": verdict, "schedulers": 2, **zero, **counts}


def test_a_release_that_broke_promises_is_told_in_numbers() -> None:
    group = [
        record("invalid", task_instances=47, duplicate_tries=1, duplicate_pods=1, refused_starts=1),
        record("valid", task_instances=282),
    ]
    said = headline(group)
    assert "Airflow 3.x with 2 schedulers scheduled 1 of 329 task instances twice" in said
    assert "1 workers were refused" in said


def test_a_release_that_broke_none_is_told_with_how_much_was_tried() -> None:
    said = headline([record("valid", task_instances=282)])
    assert said == "Airflow 3.x with 2 schedulers broke no promise in 282 task instances."


def test_a_release_that_scheduled_nothing_twice_is_told_by_the_promise_it_broke() -> None:
    group = [record("invalid", task_instances=4) | {"violations": {"queued-in-time": 1}}]
    said = headline(group)
    assert said == "Airflow 3.x with 2 schedulers broke a promise: queued-in-time."
