"""Whatever ordinary life does to a task's attempts on Airflow 3.4 breaks no promise.

There a try is a row (`Header.attempts`): a retry, a clear, a reschedule, a deferral, a mark and an
expansion are other rows, or other changes of them, than in 3.3.
"""

from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from lab.base import Lab
from lab.ending import take_down
from lab.environments.pins import pinned
from lab.environments.preparation import prepare
from lab.life import start
from lab.spec import LabSpec
from oracle.events import DagRunEvent, Event, LedgerEvent, TaskInstanceEvent
from oracle.history import read
from oracle.verdict import Judgement
from run.run import Run
from tests.labs import at_night, eventually

pytestmark = [pytest.mark.xdist_group("labs-3"), at_night]

ENVIRONMENT = {
    "HA_CHAOS_SHAPES": "flaky:6,mapped:3,sensors:2,deferrable:2,single,deep:2,producer,consumer",
    "HA_CHAOS_RETRIES": "3",
    "HA_CHAOS_RETRY_DELAY": "1",
    "HA_CHAOS_POKE_INTERVAL": "3",
    "HA_CHAOS_SLEEP": "3",
}
CONF = {"single": {"sleep": 6}, "deferrable-2": {"sleep": 5}}
"""Of runs whose tasks are to work for longer than `HA_CHAOS_SLEEP`."""

RUN = "ordinary"
NEWEST = pinned()[-1]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    me = psutil.Process()
    spec = LabSpec(prepare(NEWEST), triggerers=1, env=ENVIRONMENT)
    up = start(spec, owner=(me.pid, me.create_time()))
    try:
        yield up
    finally:
        take_down(up.directory)


@pytest.fixture(scope="module")
def judged(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Judgement, list[Event]]:
    run = Run(lab, tmp_path_factory.mktemp("attempts"), "attempts", seed=1)
    run.begin()
    try:
        live(lab, run)
        judgement = run.end()
    except BaseException:
        run.abandon()
        raise
    return judgement, list(read(run.folder / "history.ndjson")[1])


def live(lab: Lab, run: Run) -> None:
    """Have all of it happen: retries, marks, clears, of those that have ended and that run."""
    dag_ids = ["flaky-6", "mapped-3", "sensors-2", "deferrable-2", "single", "deep-2"]
    dag_ids.append("producer")
    assert eventually(lambda: {*dag_ids, "consumer"} <= set(lab.api.dag_ids()))
    for dag_id in dag_ids:
        lab.api.trigger(dag_id, RUN, CONF.get(dag_id))
    settle(run, "deep-2", "task_1", "running")
    mark(lab, "deep-2", "task_1", "success")
    for dag_id in [*dag_ids, "consumer"]:
        ended(run, dag_id, 1)
    clear(lab, "single", "task")
    clear(lab, "mapped-3", "task")
    ended(run, "single", 2)
    ended(run, "mapped-3", 2)
    clear(lab, "single", "task")
    settle(run, "single", "task", "running", times=3)
    clear(lab, "single", "task")
    ended(run, "single", 3)


def settle(run: Run, dag_id: str, task_id: str, state: str, times: int = 1) -> None:
    """Wait until a task was in a state so many times."""
    where = dag_id, task_id
    seen: set[float] = set()

    def fits(event: Event) -> bool:
        if (
            isinstance(event, TaskInstanceEvent)
            and (event.ti.dag_id, event.ti.task_id) == where
            and event.new
            and event.new.state == state
        ):
            seen.add(event.t)
        return len(seen) >= times

    run.wait(fits, 180.0, f"{task_id} {state}")


def ended(run: Run, dag_id: str, times: int) -> None:
    """Wait until a DAG's run has ended so many times."""
    seen: set[float] = set()

    def fits(event: Event) -> bool:
        if isinstance(event, DagRunEvent) and event.dag_id == dag_id and event.new == "success":
            seen.add(event.t)
        return len(seen) >= times

    run.wait(fits, 180.0, f"the end of {dag_id}")


def clear(lab: Lab, dag_id: str, task_id: str) -> None:
    """Clear a task as a person does in the UI."""
    body = {"dry_run": False, "dag_run_id": RUN, "task_ids": [task_id], "only_failed": False}
    lab.api.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)


def mark(lab: Lab, dag_id: str, task_id: str, state: str) -> None:
    """Mark a running task as a person does in the UI."""
    path = f"/api/v2/dags/{dag_id}/dagRuns/{RUN}/taskInstances/{task_id}"
    lab.api.call("PATCH", path, json={"new_state": state})


def test_ordinary_life_is_valid(judged: tuple[Judgement, list[Event]]) -> None:
    judgement, _ = judged
    assert [violation.message for violation in judgement.violations] == []
    assert judgement.reasons == []
    assert judgement.verdict == "valid"
    assert judgement.header.attempts == "row-per-attempt"


def test_every_promise_but_those_of_disturbances_judged_something(
    judged: tuple[Judgement, list[Event]],
) -> None:
    judgement, _ = judged
    silent = {name for name, number in judgement.judged.items() if not number}
    # No task ends as failed there, nobody drains or backfills a DAG or asks for callbacks, no asset
    # has partitions, and no process is told to end.
    unasked = {"drained-dag", "one-backfill", "partitions-run", "called-back-once", "stops-in-time"}
    assert silent <= {"queued-in-time", "all-tries-start", *unasked}


def test_all_of_it_happened(judged: tuple[Judgement, list[Event]]) -> None:
    _, events = judged
    changes = [event for event in events if isinstance(event, TaskInstanceEvent)]
    states = Counter(
        (event.ti.dag_id.split("-")[0], event.new.state)
        for event in changes
        if event.new and event.op == "update"
    )
    archived = {
        (event.ti.dag_id.split("-")[0], event.ti.task_id)
        for event in changes
        if event.new and event.new.archived
    }
    assert states["sensors", "up_for_reschedule"] >= 2
    assert states["deferrable", "deferred"] == 2
    assert states["single", "restarting"] == 1
    assert {("single", "task"), ("mapped", "task")} <= archived
    assert any(dag == "flaky" for dag, _ in archived)
    assert {e.ti.map_index for e in changes if e.ti.dag_id == "mapped-3"} == {-1, 0, 1, 2}


def test_tasks_work_as_long_as_the_conf_of_their_run_says(
    judged: tuple[Judgement, list[Event]],
) -> None:
    _, events = judged
    began: dict[int, LedgerEvent] = {}
    took: dict[str, float] = {}
    for event in events:
        if isinstance(event, LedgerEvent) and event.op == "start":
            began[event.pid] = event
        elif isinstance(event, LedgerEvent) and event.op == "end":
            dag_id = event.ti.dag_id
            took[dag_id] = max(took.get(dag_id, 0.0), event.t - began[event.pid].t)
    least = dict.fromkeys(took, 3) | {name: conf["sleep"] for name, conf in CONF.items()}
    assert CONF.keys() <= took.keys()
    assert all(seconds <= took[name] < seconds + 2 for name, seconds in least.items())
