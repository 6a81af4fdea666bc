"""Creating and reading pods."""

import json
import re

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException

from tests.contract.apis import KubernetesAPI


def failure(error: pytest.ExceptionInfo[ApiException]) -> dict[str, object]:
    """Return the Status object of a failed request, checked to be one."""
    status: dict[str, object] = json.loads(error.value.body)
    assert status["kind"] == "Status"
    assert status["status"] == "Failure"
    assert status["code"] == error.value.status
    return status


def test_a_created_pod_is_pending_and_has_a_uid_a_time_and_a_version(
    kubernetes_api: KubernetesAPI,
) -> None:
    pod = kubernetes_api.create("first", app="x")
    assert pod.status.phase == "Pending"
    assert re.fullmatch(r"[0-9a-f-]{36}", pod.metadata.uid)
    assert pod.metadata.creation_timestamp is not None
    assert int(pod.metadata.resource_version) > 0
    assert pod.metadata.labels == {"app": "x"}
    assert pod.spec.termination_grace_period_seconds == 30
    assert kubernetes_api.read("first") == pod


def test_the_status_sent_with_a_new_pod_is_ignored(kubernetes_api: KubernetesAPI) -> None:
    body = kubernetes_api.pod("claims-success") | {"status": {"phase": "Succeeded"}}
    pod = kubernetes_api.core.create_namespaced_pod(kubernetes_api.namespace, body)
    assert pod.status.phase == "Pending"


def test_creating_a_pod_twice_is_409_already_exists(kubernetes_api: KubernetesAPI) -> None:
    first = kubernetes_api.create("twice")
    with pytest.raises(ApiException) as error:
        kubernetes_api.create("twice")
    status = failure(error)
    assert (status["code"], status["reason"]) == (409, "AlreadyExists")
    assert status["message"] == 'pods "twice" already exists'
    assert status["details"] == {"name": "twice", "kind": "pods"}
    assert kubernetes_api.read("twice").metadata.uid == first.metadata.uid


def test_the_same_name_in_another_namespace_is_another_pod(
    kubernetes_api: KubernetesAPI, elsewhere: KubernetesAPI
) -> None:
    first, second = kubernetes_api.create("same"), elsewhere.create("same")
    assert first.metadata.uid != second.metadata.uid
    assert kubernetes_api.read("same").metadata.uid == first.metadata.uid


def test_generate_name_makes_distinct_names_with_its_prefix(kubernetes_api: KubernetesAPI) -> None:
    body = kubernetes_api.pod("")
    body["metadata"] = {"generateName": "worker-"}
    names = {
        kubernetes_api.core.create_namespaced_pod(kubernetes_api.namespace, body).metadata.name
        for _ in range(3)
    }
    assert len(names) == 3
    assert all(re.fullmatch(r"worker-[a-z0-9]{5}", name) for name in names)


def test_reading_a_missing_pod_is_404_not_found(kubernetes_api: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.read("nobody")
    status = failure(error)
    assert (status["code"], status["reason"]) == (404, "NotFound")
    assert status["message"] == 'pods "nobody" not found'
    assert status["details"] == {"name": "nobody", "kind": "pods"}


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254, "../up"])
def test_an_invalid_name_is_422_and_names_the_field(
    kubernetes_api: KubernetesAPI, name: str
) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.create(name)
    status = failure(error)
    assert (status["code"], status["reason"]) == (422, "Invalid")
    details = status["details"]
    assert isinstance(details, dict)
    assert details["kind"] == "Pod"
    assert {cause["field"] for cause in details["causes"]} == {"metadata.name"}


def test_an_invalid_label_is_422_and_names_the_field(kubernetes_api: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.create("labelled", run_id="manual__2026-01-01T00:00:00+00:00")
    status = failure(error)
    assert status["code"] == 422
    assert "metadata.labels" in str(status["message"])


def test_a_pod_without_containers_is_422(kubernetes_api: KubernetesAPI) -> None:
    body = kubernetes_api.pod("empty") | {"spec": {"containers": []}}
    with pytest.raises(ApiException) as error:
        kubernetes_api.core.create_namespaced_pod(kubernetes_api.namespace, body)
    status = failure(error)
    assert status["code"] == 422
    assert "spec.containers: Required value" in str(status["message"])


def test_a_pod_for_another_namespace_than_the_urls_is_400(kubernetes_api: KubernetesAPI) -> None:
    body = kubernetes_api.pod("astray")
    body["metadata"]["namespace"] = "elsewhere"
    with pytest.raises(ApiException) as error:
        kubernetes_api.core.create_namespaced_pod(kubernetes_api.namespace, body)
    assert failure(error)["reason"] == "BadRequest"


def test_an_object_of_another_kind_is_400(kubernetes_api: KubernetesAPI) -> None:
    body = kubernetes_api.pod("odd") | {"kind": "Secret"}
    with pytest.raises(ApiException) as error:
        kubernetes_api.core.create_namespaced_pod(kubernetes_api.namespace, body)
    assert failure(error)["reason"] == "BadRequest"


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"name": "p", "annotations": {"try_number": 1}}},
        {"metadata": {"name": "p", "labels": ["a"]}},
        {"metadata": "p"},
        {"spec": {"containers": {"name": "base"}}},
    ],
)
def test_a_value_of_the_wrong_type_is_400(
    kubernetes_api: KubernetesAPI, change: dict[str, object]
) -> None:
    path = f"/api/v1/namespaces/{kubernetes_api.namespace}/pods"
    code, body = kubernetes_api.request("POST", path, kubernetes_api.pod("p") | change)
    assert (code, json.loads(body)["reason"]) == (400, "BadRequest")
    assert kubernetes_api.names() == []


def test_a_namespace_that_was_created_is_read_and_listed(kubernetes_api: KubernetesAPI) -> None:
    name = kubernetes_api.namespace
    assert kubernetes_api.core.read_namespace(name).status.phase == "Active"
    listed = [item.metadata.name for item in kubernetes_api.core.list_namespace().items]
    assert name in listed
    assert "default" in listed
    with pytest.raises(ApiException) as error:
        kubernetes_api.core.create_namespace({"metadata": {"name": name}})
    assert failure(error)["reason"] == "AlreadyExists"


def test_an_event_is_accepted(kubernetes_api: KubernetesAPI) -> None:
    event = client.CoreV1Event(
        metadata=client.V1ObjectMeta(name="e.1", namespace=kubernetes_api.namespace),
        involved_object=client.V1ObjectReference(
            kind="Pod", name="p", namespace=kubernetes_api.namespace
        ),
        reason="Started",
        type="Normal",
    )
    kept = kubernetes_api.core.create_namespaced_event(kubernetes_api.namespace, event)
    assert kept.reason == "Started"
