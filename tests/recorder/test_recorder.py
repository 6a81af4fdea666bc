"""The whole recorder, on a real PostgreSQL and a Kubernetes API: one history in order of time."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle.events import (
    SCHEMA,
    WITHOUT_GAPS,
    AssumptionEvent,
    End,
    Event,
    FaultEvent,
    Header,
    NoteEvent,
    PodEvent,
    RowEvent,
    TaskInstanceEvent,
    WaitingEvent,
    WorkerEvent,
)
from oracle.history import HistoryError, read
from recorder import audit
from recorder.recorder import LOGS_READ, Recorder, RecorderError
from tests.contract.apis import KubernetesAPI, Server, running_kubeapi
from tests.recorder.tables import Connect, add_task, set_state

HEADER = Header(SCHEMA, "run", "3.0.6", "embedded", ["scheduler-1", "scheduler-2"], 1, 0.0)
REFUSED = (
    '{"event":"Server error","detail":{"detail":{"reason":"invalid_state","message":"TI was not '
    'in a state where it could be marked as running","previous_state":"running"}}}\n'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("kubeapi")) as server:
        yield server


@pytest.fixture
def api(server: Server) -> KubernetesAPI:
    return KubernetesAPI(server)


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def recorder(
    dsn: str, api: KubernetesAPI, tmp_path: Path, heard: list[Event]
) -> Iterator[Recorder]:
    audit.install(dsn)
    recorder = Recorder(
        tmp_path / "history.ndjson",
        HEADER,
        lambda: dsn,
        api.core,
        api.namespace,
        lambda name: REFUSED if name == "second" else "",
        [heard.append],
    )
    yield recorder
    recorder.stop()


def run_pod(api: KubernetesAPI, name: str, exit_code: int) -> None:
    pod = api.pod(name, kubernetes_executor="True", run_id="r")
    api.core.create_namespaced_pod(api.namespace, pod)
    state = {"terminated": {"exitCode": exit_code}}
    status = {
        "phase": "Failed" if exit_code else "Succeeded",
        "containerStatuses": [
            {
                "name": "base",
                "image": "w",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ],
    }
    api.core.patch_namespaced_pod_status(name, api.namespace, {"status": status})


def test_what_all_witnesses_saw_stands_in_one_history_in_order_of_time(
    recorder: Recorder, api: KubernetesAPI, connect: Connect, heard: list[Event]
) -> None:
    recorder.start()
    recorder.note(FaultEvent(recorder.now(), "begin", "gate", "scheduler-2"))
    add_task(connect("scheduler-1"), "t")
    run_pod(api, "first", 0)
    set_state(connect("scheduler-2"), "t", "queued")
    run_pod(api, "second", 1)
    set_state(connect("api-server"), "t", "running")
    path = recorder.stop()

    header, events = read(path)
    told = list(events)
    assert [event.t for event in told] == sorted(event.t for event in told)
    changes = [e for e in told if isinstance(e, TaskInstanceEvent)]
    assert [e.process for e in changes] == ["scheduler-1", "scheduler-2", "api-server"]
    assert {e.name for e in told if isinstance(e, PodEvent)} == {"first", "second"}
    workers = {e.pod: e for e in told if isinstance(e, WorkerEvent)}
    assert workers["first"].refused is None
    refused = workers["second"].refused
    assert refused is not None
    assert (refused.status, refused.reason, refused.previous_state) == (
        409,
        "invalid_state",
        "running",
    )
    assert isinstance(next(e for e in told if not isinstance(e, RowEvent)), FaultEvent)
    assumptions = {e.name: e.met for e in told if isinstance(e, AssumptionEvent)}
    assert assumptions == {WITHOUT_GAPS: True, LOGS_READ: True}
    assert header.epoch == recorder.header.epoch > 1e9
    assert sorted(heard, key=str) == sorted(told, key=str)
    assert recorder.gaps == []


def test_why_something_waits_that_has_not_ended_is_told_at_the_end(
    recorder: Recorder, connect: Connect
) -> None:
    recorder.start()
    database = connect("scheduler-1")
    add_task(database, "t", "scheduled")
    database.execute("UPDATE dag SET is_paused = true")
    *_, waiting, logs, gaps, _ = read(recorder.stop())[1]
    assert isinstance(waiting, WaitingEvent)
    assert (waiting.run_id, waiting.task_id, waiting.why) == ("r", None, "DAG d is paused")
    assert isinstance(logs, AssumptionEvent)
    assert isinstance(gaps, AssumptionEvent)


def test_waiting_needs_no_settling_and_sees_what_happened_before_it_began(
    recorder: Recorder, connect: Connect
) -> None:
    recorder.start()
    add_task(connect("scheduler-1"), "t", "queued")

    def queued(event: Event) -> bool:
        return isinstance(event, TaskInstanceEvent) and event.process == "scheduler-1"

    first = recorder.wait(queued, 10.0)
    assert recorder.wait(queued, 0.0) is first
    with pytest.raises(TimeoutError):
        recorder.wait(queued, 0.2, since=recorder.now())


def test_nothing_of_it_stays_behind_after_its_end(recorder: Recorder, dsn: str) -> None:
    recorder.start()
    recorder.stop()
    assert [t.name for t in threading.enumerate() if t.name.startswith("recorder ")] == []
    audit.remove(dsn, timeout=0.5)


def test_stopping_it_twice_or_unstarted_does_no_harm(recorder: Recorder) -> None:
    assert recorder.stop() == recorder.path
    recorder.start()
    assert recorder.stop() == recorder.stop() == recorder.path


def test_what_is_missing_is_an_assumption_that_is_not_met(recorder: Recorder, dsn: str) -> None:
    recorder.start()
    audit.remove(dsn)
    (*_, told, end) = list(read(recorder.stop())[1])
    assert isinstance(end, End)
    assert isinstance(told, AssumptionEvent)
    assert (told.name, told.met) == (WITHOUT_GAPS, False)
    assert "oracle.audit" in told.value


def test_secrets_in_what_the_harness_notes_do_not_reach_the_file(recorder: Recorder) -> None:
    recorder.start()
    recorder.note(NoteEvent(recorder.now(), "started with password=hunter2"))
    recorder.note(FaultEvent(recorder.now(), "begin", "cut", detail="host=db password=hunter2"))
    text = recorder.stop().read_text()
    assert "started with" in text
    assert "hunter2" not in text


def test_no_history_is_written_over_and_nothing_is_left_running(
    recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "history.ndjson").write_text("precious")
    with pytest.raises(HistoryError, match="exists already"):
        recorder.start()
    assert [t.name for t in threading.enumerate() if t.name.startswith("recorder ")] == []
    assert (tmp_path / "history.ndjson").read_text() == "precious"


def test_it_does_not_start_without_the_audit_or_without_the_pods(
    dsn: str, tmp_path: Path, api: KubernetesAPI
) -> None:
    audit.install(dsn)
    with running_kubeapi(tmp_path / "gone") as server:
        gone = KubernetesAPI(server)
    path = tmp_path / "other.ndjson"
    with pytest.raises(RecorderError, match="pods cannot be listed"):
        Recorder(path, HEADER, lambda: dsn, gone.core, gone.namespace, lambda _: None).start()
    audit.remove(dsn)
    with pytest.raises(audit.AuditError, match="not installed"):
        Recorder(path, HEADER, lambda: dsn, api.core, api.namespace, lambda _: None).start()
    assert not path.exists()


def test_a_log_that_is_gone_leaves_the_rest_of_the_history_whole(
    dsn: str, tmp_path: Path, api: KubernetesAPI
) -> None:
    audit.install(dsn)
    path = tmp_path / "history.ndjson"
    recorder = Recorder(path, HEADER, lambda: dsn, api.core, api.namespace, lambda _: None)
    recorder.start()
    run_pod(api, "p", 1)
    events = list(read(recorder.stop())[1])
    assumptions = {e.name: e.met for e in events if isinstance(e, AssumptionEvent)}
    assert assumptions == {WITHOUT_GAPS: True, LOGS_READ: False}
    assert recorder.gaps == ["the log of pod p is gone"]


def test_with_patience_a_worker_that_ends_late_is_heard(
    recorder: Recorder, api: KubernetesAPI
) -> None:
    recorder.start()
    api.core.create_namespaced_pod(
        api.namespace, api.pod("second", kubernetes_executor="True", run_id="r")
    )
    recorder.wait(lambda e: isinstance(e, PodEvent), 10.0)
    ending = threading.Timer(0.5, api.core.delete_namespaced_pod, ["second", api.namespace])
    ending.start()
    events = list(read(recorder.stop(patience=10.0))[1])
    ending.join()
    assert [e.pod for e in events if isinstance(e, WorkerEvent) and e.refused] == ["second"]
