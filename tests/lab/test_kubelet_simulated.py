"""Simulated workers: what they say to the execution API, and what they make of its answers."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder.workers import find_refusal
from tests.contract.apis import KubernetesAPI, Server, running_kubeapi
from tests.lab.answering import Answer, Request, answering
from tests.lab.kubelets import Cluster

REFUSAL = {
    "detail": {
        "reason": "invalid_state",
        "message": "TI was not in a state where it could be marked as running",
        "previous_state": "running",
    }
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Cluster:
    return Cluster(KubernetesAPI(server), tmp_path)


def options(url: str, *more: str) -> list[str]:
    return ["--mode", "simulated", "--execution-api", f"{url}/execution/", *more]


def create_worker(cluster: Cluster, name: str) -> None:
    workload = {"token": "first", "ti": {"id": f"ti-{name}", "dag_id": "d"}, "type": "ExecuteTask"}
    module = "airflow.sdk.execution_time.execute_workload"
    cluster.create(name, "python", "-m", module, "--json-string", json.dumps(workload))


def refreshing(request: Request) -> Answer:
    """Answer as Airflow does, handing out another token for what follows the start."""
    if request.path.endswith("/run"):
        return Answer(200, {}, {"Refreshed-API-Token": "second"})
    return Answer(204)


def test_a_worker_starts_and_succeeds_in_the_api_with_the_token_of_the_hour(
    cluster: Cluster,
) -> None:
    with answering(refreshing) as (url, seen), cluster.kubelet(*options(url)):
        create_worker(cluster, "p")
        cluster.in_phase("p", "Succeeded")
    said = [(each.method, each.path, each.headers["authorization"]) for each in seen]
    assert said == [
        ("PATCH", "/execution/task-instances/ti-p/run", "Bearer first"),
        ("PATCH", "/execution/task-instances/ti-p/state", "Bearer second"),
    ]
    assert all(each.headers["airflow-api-version"] == "2025-04-28" for each in seen)


def test_the_bodies_are_those_that_every_airflow_3_takes(cluster: Cluster) -> None:
    with answering(refreshing) as (url, seen), cluster.kubelet(*options(url)):
        create_worker(cluster, "p")
        cluster.in_phase("p", "Succeeded")
    start, success = (each.body for each in seen)
    assert start.keys() == {"state", "hostname", "unixname", "pid", "start_date"}
    assert (start["state"], start["hostname"]) == ("running", "p")
    assert success.keys() == {"state", "end_date", "task_outlets", "outlet_events"}
    assert success["state"] == "success"


@pytest.mark.parametrize(("code", "reason"), [(409, "invalid_state"), (404, "not_found")])
def test_a_refused_start_fails_the_pod_and_is_logged_in_airflows_words(
    cluster: Cluster, code: int, reason: str
) -> None:
    body = {"detail": {**REFUSAL["detail"], "reason": reason}}
    with answering(lambda _: Answer(code, body)) as (url, seen), cluster.kubelet(*options(url)):
        create_worker(cluster, "p")
        assert cluster.terminated("p").exit_code == 1
    assert [each.path.rpartition("/")[2] for each in seen] == ["run"]
    (line,) = map(json.loads, cluster.log("p").splitlines())
    assert (line["event"], line["detail"]) == ("Server error", body)
    assert f'"reason":"{reason}"' in cluster.log("p")
    refusal = find_refusal(cluster.log("p"))
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(409, "invalid_state"), (404, "not_found")])
def test_a_success_that_is_refused_fails_the_pod_and_is_no_refused_start(
    cluster: Cluster, code: int, reason: str
) -> None:
    """As when a person clears a task that is about to end."""
    message = "TI was not in the running state so it cannot be updated"
    body = {"detail": {"reason": reason, "message": message, "previous_state": "success"}}

    def answer(request: Request) -> Answer:
        return refreshing(request) if request.path.endswith("/run") else Answer(code, body)

    with answering(answer) as (url, _), cluster.kubelet(*options(url)):
        create_worker(cluster, "p")
        assert cluster.terminated("p").exit_code == 1
    assert reason in cluster.log("p")
    assert find_refusal(cluster.log("p")) is None


def test_a_server_error_is_tried_again(cluster: Cluster) -> None:
    answers = [Answer(500), Answer(503), Answer(200, {}), Answer(204)]
    with answering(lambda _: answers.pop(0)) as (url, _), cluster.kubelet(*options(url)):
        create_worker(cluster, "p")
        cluster.in_phase("p", "Succeeded")
    assert answers == []


def test_calls_under_way_are_never_more_than_asked(cluster: Cluster) -> None:
    lock = threading.Lock()
    now = most = 0

    def answer(request: Request) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.1)
        with lock:
            now -= 1
        return refreshing(request)

    more = ["--simulated-concurrency", "3"]
    with answering(answer) as (url, _), cluster.kubelet(*options(url, *more)):
        for number in range(9):
            create_worker(cluster, f"p{number}")
        for number in range(9):
            cluster.in_phase(f"p{number}", "Succeeded")
    assert most == 3


def test_a_deleted_worker_says_no_more(cluster: Cluster) -> None:
    more = ["--simulated-seconds", "600"]
    with answering(refreshing) as (url, seen), cluster.kubelet(*options(url, *more)):
        create_worker(cluster, "p")
        cluster.in_phase("p", "Running")
        version = cluster.api.revision()
        cluster.api.delete("p")
        cluster.gone("p")
        final: Any = cluster.api.events(4, resource_version=version)[-1]["object"]
    assert final.status.container_statuses[0].state.terminated.exit_code == 143
    assert all(each.path.endswith("/run") for each in seen)


def test_a_pod_that_is_no_worker_fails_and_its_log_says_why(cluster: Cluster) -> None:
    with answering(refreshing) as (url, seen), cluster.kubelet(*options(url)):
        cluster.create("p", "sleep", "1")
        assert cluster.terminated("p").exit_code == 1
    assert "--json-string" in cluster.log("p")
    assert seen == []
