"""What a pod's life looks like to the API's other clients when our kubelet runs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.contract.apis import KubernetesAPI
from tests.lab.kubelets import Cluster, eventually

# Runs until it is told how to end, so that a test sees each phase for certain.
OBEDIENT = "import pathlib, time\nwhile not (p := pathlib.Path('exit')).exists(): time.sleep(.02)\n"
OBEDIENT += "print('last words'); raise SystemExit(int(p.read_text()))"


@pytest.fixture
def cluster(kubernetes_api: KubernetesAPI, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(kubernetes_api, tmp_path)
    with cluster.kubelet("--node", "node-7"):
        yield cluster


def life(cluster: Cluster, version: str, events: int) -> list[tuple[str, str, str, str]]:
    """Return (type, phase, container state, its reason) of a watch's first distinct events."""
    told = []
    for event in cluster.api.events(events, resource_version=version):
        pod = event["object"]
        statuses = pod.status.container_statuses or []
        state: dict[str, Any] = statuses[0].state.to_dict() if statuses else {}
        kind = next((name for name, detail in state.items() if detail), "")
        reason = state[kind].get("reason") if kind else None
        told.append((event["type"], pod.status.phase, kind, reason or ""))
    return told


@pytest.mark.parametrize(
    ("code", "last"),
    [(0, ("Succeeded", "terminated", "Completed")), (3, ("Failed", "terminated", "Error"))],
)
def test_a_watcher_sees_each_phase_once_and_in_order(
    cluster: Cluster, code: int, last: tuple[str, str, str]
) -> None:
    version = cluster.api.revision()
    cluster.python("p", OBEDIENT)
    cluster.in_phase("p", "Running")
    (cluster.work / "exit").write_text(str(code))
    cluster.terminated("p")
    assert life(cluster, version, 4) == [
        ("ADDED", "Pending", "", ""),
        ("MODIFIED", "Pending", "", ""),
        ("MODIFIED", "Running", "running", ""),
        ("MODIFIED", *last),
    ]


def test_a_running_pod_is_bound_started_and_ready(cluster: Cluster) -> None:
    cluster.python("p", OBEDIENT)
    pod = cluster.in_phase("p", "Running")
    (container,) = pod.status.container_statuses
    conditions = {each.type: each.status for each in pod.status.conditions}
    assert pod.spec.node_name == "node-7"
    assert pod.status.start_time is not None
    assert (container.name, container.started, container.ready) == ("base", True, True)
    assert conditions["PodScheduled"] == conditions["Ready"] == "True"


def test_an_ended_pod_tells_its_exit_code_and_times(cluster: Cluster) -> None:
    (cluster.work / "exit").write_text("41")
    cluster.python("p", OBEDIENT)
    ended = cluster.terminated("p")
    assert (ended.exit_code, ended.reason) == (41, "Error")
    assert ended.started_at <= ended.finished_at
    assert cluster.api.read("p").status.container_statuses[0].ready is False


@pytest.mark.parametrize(
    ("policy", "code", "message"),
    [
        ("FallbackToLogsOnError", "1", "last words\n"),
        ("FallbackToLogsOnError", "0", None),
        ("File", "1", None),
    ],
)
def test_the_log_is_the_termination_message_only_on_error_and_where_asked_for(
    cluster: Cluster, policy: str, code: str, message: str | None
) -> None:
    (cluster.work / "exit").write_text(code)
    cluster.python("p", OBEDIENT, terminationMessagePolicy=policy)
    assert cluster.terminated("p").message == message


def test_a_deleted_pod_is_stopped_then_failed_then_removed(cluster: Cluster) -> None:
    cluster.python("p", OBEDIENT)
    cluster.in_phase("p", "Running")
    version = cluster.api.revision()
    cluster.api.delete("p", body=client.V1DeleteOptions(grace_period_seconds=20))
    cluster.gone("p")
    events = cluster.api.events(4, resource_version=version)
    told: list[Any] = [(event["type"], event["object"].status.phase) for event in events]
    assert told[0] == ("MODIFIED", "Running")
    assert told[-1] == ("DELETED", "Failed")
    final = events[-1]["object"]
    assert final.metadata.deletion_timestamp is not None
    assert final.status.container_statuses[0].state.terminated.exit_code == 143


def test_pods_of_other_namespaces_and_nodes_are_left_alone(
    kubernetes_api: KubernetesAPI, elsewhere: KubernetesAPI, tmp_path: Path
) -> None:
    cluster = Cluster(kubernetes_api, tmp_path)
    kubernetes_api.create("theirs")
    kubernetes_api.bind("theirs", "another-node")
    elsewhere.create("p")
    with cluster.kubelet("--node", "node-7"):
        cluster.python("ours", "pass")
        cluster.in_phase("ours", "Succeeded")
    assert kubernetes_api.read("theirs").status.phase == "Pending"
    assert elsewhere.read("p").spec.node_name is None


def test_pods_that_were_there_first_are_run_too(
    kubernetes_api: KubernetesAPI, tmp_path: Path
) -> None:
    cluster = Cluster(kubernetes_api, tmp_path)
    cluster.python("unbound", "pass")
    cluster.python("bound", "pass")
    kubernetes_api.bind("bound", "node-7")
    with cluster.kubelet("--node", "node-7"):
        cluster.in_phase("unbound", "Succeeded")
        cluster.in_phase("bound", "Succeeded")


def test_a_pod_vanishing_by_force_is_stopped(cluster: Cluster) -> None:
    cluster.python("p", OBEDIENT)
    cluster.in_phase("p", "Running")
    before = len(cluster.processes())
    cluster.api.delete("p", grace_period_seconds=0)
    eventually(lambda: len(cluster.processes()) == before - 1)
