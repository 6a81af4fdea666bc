"""The pod reader against a real watch: what matters is told, once, and no pod is missed."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oracle.events import Event, NoteEvent, PodEvent, TaskInstanceKey
from recorder.pods import ALONE, PodReader, Sharing
from recorder.stream import DatabaseClock, RecorderError, Stream
from tests.contract.apis import KubernetesAPI, Server, running_kubeapi

HISTORY = 20
ROWS = [f"019a0000-0000-7000-8000-00000000000{number}" for number in range(3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("kubeapi"), "--history", str(HISTORY)) as server:
        yield server


@pytest.fixture
def api(server: Server) -> KubernetesAPI:
    return KubernetesAPI(server)


class Watching:
    """A pod reader with nothing around it."""

    def __init__(self, api: KubernetesAPI, sharing: Sharing = ALONE) -> None:
        clock = DatabaseClock()
        self.ended: list[PodEvent] = []
        self.stream = Stream(clock.now)
        self.reader = PodReader(
            api.core, api.namespace, clock, self.stream, self.ended.append, sharing
        )
        self.reader.open()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch as long as the block lasts, and then look once more."""
        stop = threading.Event()
        thread = threading.Thread(target=self.reader.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            while thread.is_alive():
                self.reader.interrupt()
                thread.join(0.05)
        self.reader.finish()

    def until(self, true: Callable[[PodEvent], bool]) -> Event:
        return self.stream.wait(lambda e: isinstance(e, PodEvent) and true(e), 10.0)

    def until_told(self, wanted: tuple[str, str, str]) -> None:
        self.until(lambda e: (e.op, e.name, e.phase) == wanted)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Return what was told, but for the mark that an API may set just before it deletes."""
        events = [e for e in self.stream.after(0)[1] if isinstance(e, PodEvent)]
        return [(e.op, e.name, e.phase) for e in events if e.op != "modified" or not e.deleting]


@pytest.fixture
def watching(api: KubernetesAPI) -> Watching:
    return Watching(api)


def create(
    api: KubernetesAPI,
    name: str,
    annotations: dict[str, str] | None = None,
    row: str = "",
    **labels: str,
) -> None:
    """Make a worker pod as KubernetesExecutor does, for the row of a task instance."""
    pod = api.pod(name, kubernetes_executor="True", **{"airflow-worker": "7"}, **labels)
    workload = {"token": "t", "ti": {"id": row, "dag_version_id": ROWS[0], "task_id": "t"}}
    pod["spec"]["containers"][0]["args"] = ["--json-string", json.dumps(workload)]
    pod["metadata"]["annotations"] = annotations or {
        "dag_id": "d",
        "task_id": "t",
        "run_id": "manual__2026-01-01T00:00:00+00:00",
        "try_number": "2",
    }
    api.core.create_namespaced_pod(api.namespace, pod)


def report(api: KubernetesAPI, name: str, phase: str, **state: Any) -> None:
    """Tell a pod's phase and its container's state, as a kubelet does."""
    status: dict[str, Any] = {"phase": phase}
    if state:
        status["containerStatuses"] = [
            {
                "name": "base",
                "state": state,
                "image": "worker",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
            }
        ]
    api.core.patch_namespaced_pod_status(name, api.namespace, {"status": status})


def test_a_pod_s_life_is_told_step_by_step(api: KubernetesAPI, watching: Watching) -> None:
    with watching.running():
        create(api, "p")
        report(api, "p", "Running", running={"startedAt": "2026-01-01T00:00:00Z"})
        report(api, "p", "Failed", terminated={"exitCode": 3, "reason": "Error"})
        api.core.delete_namespaced_pod("p", api.namespace)
        watching.until(lambda e: e.op == "deleted")
    assert watching.told == [
        ("added", "p", "Pending"),
        ("modified", "p", "Running"),
        ("modified", "p", "Failed"),
        ("deleted", "p", "Failed"),
    ]
    (ended,) = watching.ended
    assert (ended.exit_code, ended.reason, ended.owner) == (3, "Error", "7")
    assert ended.try_number == 2
    assert ended.ti == TaskInstanceKey("d", "manual__2026-01-01T00:00:00+00:00", "t")


def report_containers(api: KubernetesAPI, name: str, phase: str, **states: Any) -> None:
    """Tell a pod's phase and the states of its containers, in that order."""
    common = {"image": "i", "imageID": "", "ready": False, "restartCount": 0}
    told = [{"name": who.replace("_", "-"), "state": of, **common} for who, of in states.items()]
    status = {"phase": phase, "containerStatuses": told, "initContainerStatuses": told[:1]}
    api.core.patch_namespaced_pod_status(name, api.namespace, {"status": status})


def test_a_worker_ends_with_its_container_whatever_a_sidecar_does(
    api: KubernetesAPI, watching: Watching
) -> None:
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    with watching.running():
        create(api, "p")
        report_containers(api, "p", "Running", istio_proxy=done, base=running)
        watching.until(lambda e: e.phase == "Running")
        assert watching.reader.alive() == ["p"]
        assert watching.ended == []
        report_containers(api, "p", "Running", istio_proxy=running, base=done)
        over = watching.until(lambda e: e.exit_code == 0)
        assert watching.reader.alive() == []
        report_containers(api, "p", "Succeeded", istio_proxy=done, base=done)
        watching.until(lambda e: e.phase == "Succeeded")
    assert isinstance(over, PodEvent)
    assert (over.phase, over.over) == ("Running", True)
    assert [(event.name, event.phase) for event in watching.ended] == [("p", "Running")]


def test_pods_of_another_release_in_the_namespace_are_not_told(api: KubernetesAPI) -> None:
    create(api, "old-dev", release="airflow-dev")
    watching = Watching(api, Sharing("airflow"))
    with watching.running():
        create(api, "dev", release="airflow-dev")
        create(api, "prod", release="airflow")
        report(api, "old-dev", "Succeeded", terminated={"exitCode": 0})
        api.core.delete_namespaced_pod("dev", api.namespace)
        create(api, "last", release="airflow")
        watching.until(lambda e: e.name == "last")
    assert {name for _, name, _ in watching.told} == {"prod", "last"}
    assert watching.ended == []


def test_where_another_release_is_a_pod_without_the_label_is_known_by_its_row(
    api: KubernetesAPI,
) -> None:
    asked: list[str] = []

    def has_row(row: str) -> bool:
        asked.append(row)
        return row in ROWS[1:]

    watching = Watching(api, Sharing("airflow", others=True, has_row=has_row))
    with watching.running():
        create(api, "theirs", row=ROWS[0])
        create(api, "ours", row=ROWS[1])
        create(
            api,
            "annotated",
            {"dag_id": "d", "task_id": "t", "try_number": "1", "task_instance_id": ROWS[2]},
        )
        report(api, "theirs", "Running", running={})
        create(api, "who-knows")
        watching.until(lambda e: e.name == "who-knows")
    assert {name for _, name, _ in watching.told} == {"ours", "annotated", "who-knows"}
    assert asked == ROWS


def test_a_namespace_without_another_release_is_asked_nothing(api: KubernetesAPI) -> None:
    watching = Watching(api, Sharing("airflow", has_row=lambda _: False))
    with watching.running():
        create(api, "unlabelled", row=ROWS[0])
        watching.until(lambda e: e.name == "unlabelled")
    assert watching.told == [("added", "unlabelled", "Pending")]


def test_a_change_of_nothing_that_matters_is_not_told(
    api: KubernetesAPI, watching: Watching
) -> None:
    with watching.running():
        create(api, "p")
        for number in range(3):
            api.core.patch_namespaced_pod(
                "p", api.namespace, {"metadata": {"annotations": {"x": str(number)}}}
            )
        api.core.patch_namespaced_pod(
            "p", api.namespace, {"metadata": {"labels": {"airflow-worker": "8"}}}
        )
        adopted = watching.until(lambda e: e.owner == "8")
    assert isinstance(adopted, PodEvent)
    assert [op for op, *_ in watching.told] == ["added", "modified"]


def test_a_pod_that_is_being_deleted_says_so(api: KubernetesAPI, watching: Watching) -> None:
    with watching.running():
        create(api, "p")
        api.core.create_namespaced_binding(
            api.namespace,
            {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}},
            _preload_content=False,
        )
        report(api, "p", "Running")
        api.core.delete_namespaced_pod("p", api.namespace, grace_period_seconds=30)
        going = watching.until(lambda e: e.deleting)
    assert isinstance(going, PodEvent)
    assert (going.op, going.phase, going.reason) == ("modified", "Running", "Terminating")
    assert watching.ended == []


def test_a_pod_that_is_deleted_before_it_ends_ends_by_that_once(
    api: KubernetesAPI, watching: Watching
) -> None:
    with watching.running():
        create(api, "p")
        api.core.delete_namespaced_pod("p", api.namespace)
        watching.until(lambda e: e.op == "deleted")
    assert [event.name for event in watching.ended] == ["p"]


def test_pods_that_are_there_before_it_begins_are_told_only_when_they_change(
    api: KubernetesAPI,
) -> None:
    create(api, "old")
    create(api, "older")
    watching = Watching(api)
    with watching.running():
        report(api, "old", "Running")
        watching.until(lambda e: e.phase == "Running")
    assert watching.told == [("modified", "old", "Running")]


def test_pods_that_are_no_workers_are_not_told(api: KubernetesAPI, watching: Watching) -> None:
    with watching.running():
        api.core.create_namespaced_pod(api.namespace, api.pod("stranger"))
        create(api, "p")
        watching.until(lambda e: e.name == "p")
    assert watching.told == [("added", "p", "Pending")]


def test_whose_pod_it_is_comes_from_annotations_and_else_from_labels(
    api: KubernetesAPI, watching: Watching
) -> None:
    long = "a_dag_id_of_more_than_63_characters_that_no_label_could_hold_" * 3
    mapped = {"dag_id": long, "task_id": "t", "run_id": "r", "try_number": "1", "map_index": "4"}
    labelled = api.pod(
        "labelled", kubernetes_executor="True", dag_id="d", task_id="l", run_id="r", try_number="3"
    )
    labelled["metadata"]["annotations"] = {}
    with watching.running():
        create(api, "mapped", mapped)
        api.core.create_namespaced_pod(api.namespace, labelled)
        create(api, "nobody-s", {"dag_id": "d"})
        watching.until(lambda e: e.name == "nobody-s")
    events = {e.name: e for e in watching.stream.after(0)[1] if isinstance(e, PodEvent)}
    assert events["mapped"].ti == TaskInstanceKey(long, "r", "t", 4)
    assert events["labelled"].ti == TaskInstanceKey("d", "r", "l")
    assert events["labelled"].try_number == 3
    assert (events["nobody-s"].ti, events["nobody-s"].try_number) == (None, None)


def test_a_watch_that_breaks_off_is_taken_up_and_loses_nothing(
    api: KubernetesAPI, watching: Watching
) -> None:
    with watching.running():
        for number in range(6):
            create(api, f"p{number}")
            watching.until_told(("added", f"p{number}", "Pending"))
            watching.reader.interrupt()
            api.core.delete_namespaced_pod(f"p{number}", api.namespace)
            watching.until_told(("deleted", f"p{number}", "Pending"))
    assert [op for op, *_ in watching.told] == ["added", "deleted"] * 6
    assert watching.stream.gaps == []


def test_an_expired_watch_is_a_gap_but_every_pod_that_is_there_or_gone_is_told(
    api: KubernetesAPI, watching: Watching
) -> None:
    with watching.running():
        create(api, "goes")
        create(api, "ends")
        watching.until(lambda e: e.name == "ends")
    told = watching.told
    api.core.delete_namespaced_pod("goes", api.namespace)
    report(api, "ends", "Succeeded", terminated={"exitCode": 0})
    create(api, "comes")
    for number in range(HISTORY):
        api.core.patch_namespaced_pod(
            "comes", api.namespace, {"metadata": {"annotations": {"x": str(number)}}}
        )
    with watching.running():
        watching.stream.wait(lambda e: isinstance(e, NoteEvent) and "listed anew" in e.text, 10.0)
        create(api, "later")
        watching.until(lambda e: e.name == "later")
    assert sorted(watching.told[len(told) :]) == [
        ("added", "comes", "Pending"),
        ("added", "later", "Pending"),
        ("deleted", "goes", "Pending"),
        ("modified", "ends", "Succeeded"),
    ]
    assert sorted(event.name for event in watching.ended) == ["ends", "goes"]
    assert len(watching.stream.gaps) == 1
    assert "410" in watching.stream.gaps[0]


def test_the_last_look_finds_what_no_watch_told(api: KubernetesAPI, watching: Watching) -> None:
    create(api, "p")
    report(api, "p", "Succeeded", terminated={"exitCode": 0})
    watching.reader.finish()
    assert watching.told == [("added", "p", "Succeeded")]
    assert [event.exit_code for event in watching.ended] == [0]


def test_an_api_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with running_kubeapi(tmp_path) as server:
        api = KubernetesAPI(server)
    with pytest.raises(RecorderError, match="pods cannot be listed") as caught:
        Watching(api)
    assert "\n" not in str(caught.value)
