"""Changing pods: patches, replacement, the status and binding subresources."""

import pytest
from kubernetes.client.rest import ApiException

from tests.contract.apis import KubernetesAPI

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_a_patch_of_labels_adds_changes_and_removes_them(
    kubernetes_api: KubernetesAPI, content_type: str
) -> None:
    before = kubernetes_api.create("p", keep="1", change="1", drop="1")
    body = {"metadata": {"labels": {"change": "2", "drop": None, "add": "2"}}}
    after = kubernetes_api.patch("p", body, _content_type=content_type)
    assert after.metadata.labels == {"keep": "1", "change": "2", "add": "2"}
    assert after.metadata.uid == before.metadata.uid
    assert int(after.metadata.resource_version) > int(before.metadata.resource_version)
    assert kubernetes_api.read("p").metadata.labels == after.metadata.labels


def test_a_json_patch_is_applied_in_order(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p", a="1")
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "1"},
        {"op": "add", "path": "/metadata/labels/b~1c", "value": "2"},
        {"op": "copy", "from": "/metadata/labels/b~1c", "path": "/metadata/labels/d"},
        {"op": "replace", "path": "/metadata/labels/d", "value": "3"},
        {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/e"},
        {"op": "remove", "path": "/metadata/annotations/dag_id"},
    ]
    after = kubernetes_api.patch("p", operations, _content_type=JSON_PATCH)
    assert after.metadata.labels == {"b/c": "2", "d": "3", "e": "1"}
    assert "dag_id" not in after.metadata.annotations


def test_a_json_patch_whose_test_fails_changes_nothing(kubernetes_api: KubernetesAPI) -> None:
    before = kubernetes_api.create("p", a="1")
    operations = [
        {"op": "replace", "path": "/metadata/labels/a", "value": "2"},
        {"op": "test", "path": "/metadata/labels/a", "value": "3"},
    ]
    with pytest.raises(ApiException) as error:
        kubernetes_api.patch("p", operations, _content_type=JSON_PATCH)
    assert error.value.status == 422
    assert kubernetes_api.read("p") == before


def test_a_patch_that_changes_nothing_makes_no_new_version(kubernetes_api: KubernetesAPI) -> None:
    before = kubernetes_api.create("p", a="1")
    after = kubernetes_api.label("p", a="1")
    assert after.metadata.resource_version == before.metadata.resource_version


def test_a_patch_of_a_missing_pod_is_404(kubernetes_api: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.label("nobody", a="1")
    assert error.value.status == 404


def test_a_patch_with_a_stale_version_is_409_conflict(kubernetes_api: KubernetesAPI) -> None:
    stale = kubernetes_api.create("p").metadata.resource_version
    kubernetes_api.label("p", a="1")
    body = {"metadata": {"resourceVersion": stale, "labels": {"a": "2"}}}
    with pytest.raises(ApiException) as error:
        kubernetes_api.patch("p", body)
    assert error.value.status == 409
    assert '"reason":"Conflict"' in error.value.body
    assert kubernetes_api.read("p").metadata.labels == {"a": "1"}


def test_a_replacement_with_a_stale_version_is_409_conflict(kubernetes_api: KubernetesAPI) -> None:
    pod = kubernetes_api.create("p")
    pod.metadata.labels = {"a": "1"}
    kubernetes_api.core.replace_namespaced_pod("p", kubernetes_api.namespace, pod)
    pod.metadata.labels = {"a": "2"}
    with pytest.raises(ApiException) as error:
        kubernetes_api.core.replace_namespaced_pod("p", kubernetes_api.namespace, pod)
    assert error.value.status == 409
    assert kubernetes_api.read("p").metadata.labels == {"a": "1"}


def test_a_pods_spec_cannot_be_changed(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    with pytest.raises(ApiException) as error:
        kubernetes_api.patch("p", {"spec": {"nodeName": "node-1"}})
    assert error.value.status == 422
    assert "may not change fields other than" in error.value.body


def test_a_patch_of_the_pod_leaves_its_status(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    after = kubernetes_api.patch(
        "p", {"metadata": {"labels": {"a": "1"}}, "status": {"phase": "Failed"}}
    )
    assert after.status.phase == "Pending"
    assert after.metadata.labels == {"a": "1"}


def test_the_status_subresource_changes_the_status_and_not_the_spec(
    kubernetes_api: KubernetesAPI,
) -> None:
    kubernetes_api.create("p")
    state = {"terminated": {"exitCode": 1, "reason": "Error"}}
    containers = [
        {
            "name": "base",
            "state": state,
            "ready": False,
            "restartCount": 0,
            "image": "worker",
            "imageID": "",
        }
    ]
    status = {"phase": "Failed", "reason": "Evicted", "containerStatuses": containers}
    body = {"status": status, "spec": {"activeDeadlineSeconds": 5}}
    kubernetes_api.core.patch_namespaced_pod_status("p", kubernetes_api.namespace, body)
    pod = kubernetes_api.read("p")
    assert (pod.status.phase, pod.status.reason) == ("Failed", "Evicted")
    assert pod.status.container_statuses[0].state.terminated.exit_code == 1
    assert pod.spec.active_deadline_seconds is None


def test_conditions_are_merged_by_their_type(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    for kind, value in [("Ready", "False"), ("Initialized", "True"), ("Ready", "True")]:
        body = {"status": {"conditions": [{"type": kind, "status": value}]}}
        kubernetes_api.core.patch_namespaced_pod_status(
            "p", kubernetes_api.namespace, body, _content_type=STRATEGIC
        )
    conditions = kubernetes_api.read("p").status.conditions
    assert {each.type: each.status for each in conditions} == {
        "Ready": "True",
        "Initialized": "True",
    }


def test_binding_assigns_the_node_once(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p", "node-1")
    with pytest.raises(ApiException) as error:
        kubernetes_api.bind("p", "node-2")
    assert error.value.status == 409
    pod = kubernetes_api.read("p")
    assert pod.spec.node_name == "node-1"
    assert [(c.type, c.status) for c in pod.status.conditions] == [("PodScheduled", "True")]


def test_binding_a_missing_pod_is_404(kubernetes_api: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.bind("nobody")
    assert error.value.status == 404


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "nope", "path": "/metadata/labels/a"}], 400),
        ([{"op": "replace", "path": "/metadata", "value": []}], 400),
        ([{"op": "add", "path": "/metadata/labels/b"}], 422),
        ([{"op": "add", "value": "b"}], 422),
        ([{"op": "remove", "path": "/metadata/labels/none"}], 422),
        ([{"op": "add", "path": "/spec/containers/9", "value": {}}], 422),
        ([{"op": "move", "from": "/nowhere/a", "path": "/metadata/labels/b"}], 422),
        ([{"op": "add", "path": "metadata", "value": {}}], 422),
    ],
)
def test_a_json_patch_that_cannot_be_applied_is_refused_and_changes_nothing(
    kubeapi: KubernetesAPI, patch: object, code: int
) -> None:
    before = kubeapi.create("p", a="1")
    try:
        with pytest.raises(ApiException) as error:
            kubeapi.patch("p", patch, _content_type=JSON_PATCH)
        assert error.value.status == code
        assert kubeapi.read("p") == before
    finally:
        kubeapi.delete("p")
