"""Memory is bounded, and names tell who is who."""

import pytest

from oracle.events import Event, PodEvent, TaskInstanceKey
from oracle.invariants import Violation
from oracle.memory import REMEMBERED, RING, SEQUEL, STORIES, Memory
from oracle.states import Role, Roles


def ti(number: int) -> TaskInstanceKey:
    return TaskInstanceKey("d", "r", f"t{number}")


def pod(t: float, number: int) -> PodEvent:
    return PodEvent(t, "modified", "pod", "uid", ti(number), 1, "Running")


def violation(number: int, *events: Event) -> Violation:
    return Violation("unique-try", "A promise, but no", ti(number), 9.0, events)


def test_of_a_task_instance_only_the_latest_events_are_kept() -> None:
    memory = Memory()
    events = [pod(float(t), 0) for t in range(RING + 5)]
    for event in events:
        memory.keep(event)
    assert memory.note(violation(0)) == tuple(events[5:])


def test_the_task_instance_that_was_quiet_the_longest_is_forgotten() -> None:
    memory = Memory()
    for number in [*range(REMEMBERED), 0, REMEMBERED]:
        memory.keep(pod(1.0, number))
    assert memory.note(violation(0)) == (pod(1.0, 0), pod(1.0, 0))
    assert memory.note(violation(1)) == ()
    assert memory.note(violation(2)) == (pod(1.0, 2),)


def test_of_a_forgotten_one_the_violation_itself_is_kept() -> None:
    memory = Memory()
    assert memory.note(violation(0, pod(8.0, 0))) == (pod(8.0, 0),)


def test_what_comes_after_a_violation_is_kept_up_to_a_bound() -> None:
    memory = Memory()
    memory.keep(pod(1.0, 0))
    memory.note(violation(0))
    for t in range(SEQUEL + 10):
        memory.keep(pod(10.0 + t, 0))
    assert len(memory.stories[ti(0)].events) == 1 + SEQUEL


def test_the_stories_that_are_kept_are_bounded() -> None:
    memory = Memory()
    for number in range(STORIES + 10):
        memory.keep(pod(1.0, number))
        assert memory.note(violation(number)) == (pod(1.0, number),)
    assert len(memory.stories) == STORIES


@pytest.mark.parametrize(
    ("process", "role"),
    [
        ("one", "scheduler"),
        ("airflow-scheduler-7d9f8-x2", "scheduler"),
        ("api-server", "api-server"),
        ("airflow-api-server-5c-9", "api-server"),
        ("triggerer", "triggerer"),
        ("dag-processor", "other"),
        ("psql", "other"),
        ("", "other"),
    ],
)
def test_a_process_is_known_by_the_header_or_by_its_name(process: str, role: Role) -> None:
    assert Roles(["one", "two"]).of(process) == role
