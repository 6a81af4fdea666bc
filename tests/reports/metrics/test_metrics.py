"""Each figure of a run is what its definition says, also when the race distorts the history."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from oracle.events import (
    DagRunEvent,
    Event,
    Header,
    PodEvent,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from oracle.history import HistoryError, Writer
from reports import records
from reports.metrics import Gauge, Metrics, measure, metrics_of
from tests.oracle.telling import HISTORIES

HEADER = Header(1, "r", "3.3.2", "embedded", ["scheduler-1"], 1, 0.0)


def run(t: float, new: str, dag: str = "deep-2") -> DagRunEvent:
    return DagRunEvent(t, "update", dag, "r", None, new, "scheduler-1")


def ti(
    t: float, task: str, old: str | None, new: str | None, dag: str = "deep-2", mapped: int = -1
) -> TaskInstanceEvent:
    rows = [Row("id", state) for state in (old, new)]
    key = TaskInstanceKey(dag, "r", task, mapped)
    return TaskInstanceEvent(t, "update", key, rows[0], rows[1], "scheduler-1")


def life(task: str, *times: float, dag: str = "deep-2", mapped: int = -1) -> Iterator[Event]:
    """Take a task instance from scheduled to its end, at these times."""
    states = [None, "scheduled", "queued", "running", "success"]
    for t, old, new in zip(times, states, states[1:], strict=False):
        yield ti(t, task, old, new, dag, mapped)


def measured(*events: Event) -> Metrics:
    gauge = Gauge(HEADER)
    for event in sorted(events, key=lambda event: event.t):
        gauge.feed(event)
    return gauge.metrics()


CHAIN: list[Event] = [
    run(0.5, "queued"),
    run(1.0, "running"),
    *life("task_1", 1.25, 2.25, 4.25, 5.0),
    *life("task_2", 5.75, 6.0, 6.5, 8.5),
]


def test_lag_is_from_the_last_upstreams_end_or_the_runs_beginning() -> None:
    found = measured(*CHAIN)
    assert found.lag == [0.25, 0.75]
    assert found.queueing == [1.0, 0.25]
    assert found.start == [2.0, 0.5]
    assert (found.task_instances, found.ended, found.whole) == (2, 2, True)
    assert (found.makespan, found.throughput) == (8.0, 0.25)


def test_what_the_race_or_a_retry_repeats_distorts_nothing() -> None:
    again: list[Event] = [
        ti(2.5, "task_1", "queued", "scheduled"),
        ti(3.0, "task_1", "scheduled", "queued"),
        ti(4.5, "task_1", "running", "up_for_retry"),
        ti(9.0, "task_2", "success", "scheduled"),
        ti(9.5, "task_2", "scheduled", "success"),
    ]
    assert measured(*CHAIN, *again) == measured(*CHAIN)


def test_a_mapped_upstream_has_ended_when_all_its_instances_have() -> None:
    dag = "mapped-2"
    found = measured(
        run(0.0, "running", dag),
        *life("start", 0.0, 0.0, 0.0, 1.0, dag=dag),
        *life("task", 1.5, 1.5, 1.5, 2.0, dag=dag, mapped=0),
        *life("task", 1.5, 1.5, 1.5, 4.0, dag=dag, mapped=1),
        *life("end", 4.125, 5.0, 5.0, 6.0, dag=dag),
    )
    assert found.lag == [0.0, 0.5, 0.5, 0.125]


def test_an_edge_to_a_group_waits_for_all_its_tasks() -> None:
    dag = "many_groups-1x2_3"
    found = measured(
        run(0.0, "running", dag),
        *life("start", 0.5, 0.5, 0.5, 1.0, dag=dag),
        *life("group_1.task_1", 1.25, 2.0, 2.0, 3.0, dag=dag),
        *life("group_1.task_2", 1.25, 2.0, 2.0, 7.0, dag=dag),
        *life("end", 9.0, 9.0, 9.0, 9.0, dag=dag),
    )
    assert found.lag == [0.5, 0.25, 0.25, 2.0]


def test_the_lag_of_a_foreign_dag_is_not_measured_the_rest_is() -> None:
    events: list[Event] = [
        run(1.0, "running", "theirs"),
        *life("a", 1.0, 2.0, 3.0, 4.0, dag="theirs"),
    ]
    found = measured(*events)
    assert found.lag == []
    assert (found.queueing, found.start, found.ended) == ([1.0], [1.0], 1)


def test_what_did_not_end_leaves_a_run_that_is_not_whole() -> None:
    found = measured(*CHAIN[:-1])
    assert (found.task_instances, found.ended, found.whole) == (2, 1, False)
    assert measured().whole is False


def test_pods_are_timed_from_made_to_running() -> None:
    pods: list[Event] = [
        PodEvent(1.0, "added", "a", "1"),
        PodEvent(2.5, "modified", "a", "1", phase="Running"),
        PodEvent(3.0, "added", "b", "2"),
        PodEvent(3.5, "deleted", "b", "2"),
    ]
    found = measured(*pods)
    assert (found.pod_start, found.pods, found.pods_per_second) == ([1.5], 2, 1.0)


def test_memory_is_given_back_when_a_run_ends() -> None:
    gauge = Gauge(HEADER)
    for event in CHAIN:
        gauge.feed(event)
    assert gauge._runs
    gauge.feed(run(9.0, "success"))
    assert not gauge._runs


def test_a_recorded_history_of_the_race_is_measured() -> None:
    race = "invalid-second-scheduler-schedules-stale-rows-again.ndjson"
    found = measure(HISTORIES / "57618" / race)
    assert (found.queueing, found.start) == ([0.176], [1.71]), "first times, though queued twice"
    assert (found.task_instances, found.pods) == (1, 2)
    assert found.lag == [], "it began after the run had"


def record(folder: Path) -> records.TestRecord:
    return records.TestRecord(
        schema=1, test="t", airflow="3.3.2", version="3.3.2", lab="embedded", schedulers=2,
        seed=1, verdict="valid", folder=str(folder),
    )  # fmt: skip


def write(folder: Path, events: list[Event]) -> None:
    header = Header(1, "t", "3.3.2", "embedded", ["scheduler-1"], 1, 0.0)
    with Writer(folder / "history.ndjson", header) as history:
        for event in events:
            history.write(event)
        history.close(10.0)


def test_kept_metrics_are_read_and_others_measured_anew(tmp_path: Path) -> None:
    assert metrics_of(record(tmp_path)) is None
    write(tmp_path, list(CHAIN))
    assert metrics_of(record(tmp_path)) == measured(*CHAIN)
    kept = Metrics(task_instances=7)
    (tmp_path / "metrics.json").write_bytes(msgspec.json.encode(kept))
    assert metrics_of(record(tmp_path)) == kept
    (tmp_path / "metrics.json").write_text('{"schema": 0, "task_instances": 9}')
    assert metrics_of(record(tmp_path)) == measured(*CHAIN)


def test_a_truncated_history_has_no_figures(tmp_path: Path) -> None:
    write(tmp_path, list(CHAIN))
    path = tmp_path / "history.ndjson"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(HistoryError, match="truncated"):
        measure(path)
    assert metrics_of(record(tmp_path)) is None
