"""The shapes are what they say: their counts, their order, and a clear line for bad ones."""

from graphlib import TopologicalSorter

import pytest

from dags.shapes import (
    MAX_TASK_INSTANCES,
    SHAPES,
    Settings,
    Shape,
    ShapeError,
    dags,
    shape,
)

COUNTS = {
    "issue_57618": 47,
    "many_groups:3x4": 14,
    "wide:200": 200,
    "deep:7": 7,
    "diamond:4": 13,
    "mapped:20": 22,
    "branching:4": 9,
    "sensors:3": 5,
    "deferrable:3": 5,
    "impatient:4": 1,
    "flaky:6": 8,
    "failing:3": 3,
    "serial": 1,
    "producer": 1,
    "publisher": 1,
    "consumer": 1,
    "gatherer": 1,
    "partitions": 1,
    "calling": 1,
    "late:30": 1,
    "awaited:30": 1,
    "daily": 1,
    "single": 1,
}


def waits_for(of: Shape) -> dict[str, set[str]]:
    """Each task's upstream tasks, with an edge to a group spread over the group's tasks."""

    def tasks(name: str) -> list[str]:
        members = [node.task_id for node in of.nodes if node.group == name]
        return members or [name]

    graph: dict[str, set[str]] = {node.task_id: set() for node in of.nodes}
    for upstream, downstream in of.edges:
        for task in tasks(downstream):
            graph[task].update(tasks(upstream))
    return graph


def depth(of: Shape) -> int:
    sorter, levels = TopologicalSorter(waits_for(of)), 0
    sorter.prepare()
    while sorter.is_active():
        sorter.done(*sorter.get_ready())
        levels += 1
    return levels


def test_every_shape_has_a_count_to_meet() -> None:
    assert {text.partition(":")[0] for text in COUNTS} == set(SHAPES)


@pytest.mark.parametrize(("text", "count"), COUNTS.items())
def test_a_run_has_the_task_instances_that_the_shape_says(text: str, count: int) -> None:
    assert shape(text).task_instances == count


@pytest.mark.parametrize("text", [*COUNTS, *SHAPES])
def test_task_ids_are_unique_and_edges_join_tasks_that_exist_without_a_cycle(text: str) -> None:
    made = shape(text)
    ids = [node.task_id for node in made.nodes]
    assert len(ids) == len(set(ids))
    assert {end for edge in made.edges for end in edge} <= {*ids, *made.groups}
    assert set(TopologicalSorter(waits_for(made)).static_order()) == set(ids)


@pytest.mark.parametrize(
    ("text", "levels"),
    [("wide:9", 1), ("deep:9", 9), ("diamond:3", 7), ("issue_57618", 3), ("branching", 4)],
)
def test_the_longest_way_through_a_shape(text: str, levels: int) -> None:
    assert depth(shape(text)) == levels


def test_the_issues_dag_is_the_reporters() -> None:
    made = shape("issue_57618")
    assert (made.retries, made.max_active_runs) == (4, 1)
    assert made.groups == tuple(f"spam_{group}" for group in range(1, 10))
    graph = waits_for(made)
    assert graph["spam_9.task_5"] == {"start"}
    assert len(graph["end"]) == 45


def test_a_branch_follows_tasks_that_wait_for_it() -> None:
    made = shape("branching:5")
    graph = waits_for(made)
    (chooser,) = (node for node in made.nodes if node.kind == "branch")
    assert len(chooser.choices) == 5
    assert all(graph[choice] == {chooser.task_id} for choice in chooser.choices)


def test_what_is_skipped_is_not_scheduled() -> None:
    made = shape("branching:5")
    assert made.task_instances - made.scheduled == 5, "four paths, and what waits for a skip"
    assert shape("deep:3").scheduled == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wyde", "the shapes are issue_57618"),
        ("wide:", "write wide:N"),
        ("wide:0", "write wide:N"),
        ("wide:-3", "write wide:N"),
        ("wide:²", "write wide:N"),
        ("wide:2x2", "write wide:N"),
        ("many_groups:3", "write many_groups:GROUPSxWIDTH"),
        ("single:1", "write single."),
        (f"wide:{MAX_TASK_INSTANCES + 1}", "write smaller numbers"),
        ("wide:99999999999999999999", "write wide:N"),
    ],
)
def test_a_bad_shape_is_one_line_that_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ShapeError) as caught:
        shape(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_copies_and_numbers_become_dag_ids() -> None:
    made = dags(" issue_57618*2, wide:200 ,wide,deep:3*1,")
    assert list(made) == ["issue_57618_0", "issue_57618_1", "wide-200", "wide", "deep-3_0"]
    assert made["wide-200"].task_instances == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No shape is asked for"),
        (" , ", "No shape is asked for"),
        ("wide,deep,wide", "'wide' is asked for twice"),
        ("wide*2,wide*3", "'wide_0' is asked for twice"),
        ("wide*0", "copies from 1"),
        ("wide*", "copies from 1"),
        ("wide*many", "copies from 1"),
        ("wide*1001", "copies from 1 to 1000"),
        ("wide*2:200", "copies from 1"),
    ],
)
def test_a_bad_list_of_dags_is_one_line_that_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ShapeError) as caught:
        dags(text)
    assert says in str(caught.value)


def test_settings_have_defaults_and_an_empty_variable_means_its_default() -> None:
    empty = {"HA_CHAOS_SHAPES": "", "HA_CHAOS_RETRIES": "", "HA_CHAOS_SLEEP": ""}
    assert Settings.read({}) == Settings.read(empty)
    assert list(Settings.read({}).dags) == ["issue_57618"]
    assert Settings.read({}).retries is None


def test_settings_are_read_from_the_environment() -> None:
    read = Settings.read(
        {
            "HA_CHAOS_SHAPES": "single*3",
            "HA_CHAOS_SLEEP": "0.5",
            "HA_CHAOS_RETRIES": "0",
            "HA_CHAOS_RETRY_DELAY": "2",
            "HA_CHAOS_POKE_INTERVAL": "3",
            "HA_CHAOS_MAX_ACTIVE_TASKS": "7",
            "HA_CHAOS_SEED": "42",
        }
    )
    assert list(read.dags) == ["single_0", "single_1", "single_2"]
    assert (read.sleep, read.retries, read.retry_delay) == (0.5, 0, 2.0)
    assert (read.poke_interval, read.max_active_tasks, read.seed) == (3.0, 7, 42)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HA_CHAOS_SHAPES", "wyde", "HA_CHAOS_SHAPES: No shape is called 'wyde'"),
        ("HA_CHAOS_SLEEP", "-1", "seconds from 0 up"),
        ("HA_CHAOS_SLEEP", "nan", "seconds from 0 up"),
        ("HA_CHAOS_SLEEP", "inf", "seconds from 0 up"),
        ("HA_CHAOS_SLEEP", "1,5", "seconds from 0 up"),
        ("HA_CHAOS_RETRIES", "1.5", "a whole number from 0 up"),
        ("HA_CHAOS_RETRY_DELAY", "soon", "seconds from 0 up"),
        ("HA_CHAOS_POKE_INTERVAL", "-0.1", "seconds from 0 up"),
        ("HA_CHAOS_MAX_ACTIVE_TASKS", "0", "a whole number from 1 up"),
        ("HA_CHAOS_SEED", "x", "a whole number from 0 up"),
    ],
)
def test_a_bad_setting_is_named_with_what_to_write(name: str, value: str, says: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Settings.read({name: value})
    assert name in str(caught.value)
    assert says in str(caught.value)
