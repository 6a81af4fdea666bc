"""Deleting pods: grace is for pods that a kubelet runs."""

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException

from tests.contract.apis import KubernetesAPI


def test_an_unbound_pod_vanishes_at_once(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    kubernetes_api.delete("p")
    assert kubernetes_api.names() == []


def test_a_bound_pod_is_marked_and_vanishes_when_deleted_with_grace_zero(
    kubernetes_api: KubernetesAPI,
) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p")
    kubernetes_api.set_phase("p", "Running")
    start = kubernetes_api.revision()
    answer = kubernetes_api.delete("p", body=client.V1DeleteOptions(grace_period_seconds=7))
    assert answer.metadata.deletion_timestamp is not None
    pod = kubernetes_api.read("p")
    assert pod.metadata.deletion_grace_period_seconds == 7
    assert pod.status.phase == "Running"
    kubernetes_api.delete("p", grace_period_seconds=0)
    with pytest.raises(ApiException) as error:
        kubernetes_api.read("p")
    assert error.value.status == 404
    told = kubernetes_api.told(3, resource_version=start)
    assert told == [("MODIFIED", "p"), ("MODIFIED", "p"), ("DELETED", "p")]


def test_a_bound_pods_grace_is_its_specs_when_none_is_asked(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p")
    kubernetes_api.delete("p")
    assert kubernetes_api.read("p").metadata.deletion_grace_period_seconds == 30


def test_a_second_deletion_can_only_shorten_the_grace(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p")
    for asked, left in [(20, 20), (25, 20), (None, 20), (5, 5)]:
        kubernetes_api.delete("p", body=client.V1DeleteOptions(grace_period_seconds=asked))
        assert kubernetes_api.read("p").metadata.deletion_grace_period_seconds == left


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_bound_pod_that_has_ended_vanishes_at_once(
    kubernetes_api: KubernetesAPI, phase: str
) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p")
    kubernetes_api.set_phase("p", phase)
    kubernetes_api.delete("p")
    assert kubernetes_api.names() == []


def test_a_marked_pod_keeps_its_mark_through_updates(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p")
    kubernetes_api.delete("p")
    kubernetes_api.label("p", a="1")
    kubernetes_api.set_phase("p", "Failed")
    pod = kubernetes_api.read("p")
    assert pod.metadata.deletion_timestamp is not None
    assert pod.metadata.deletion_grace_period_seconds == 30
    assert pod.status.phase == "Failed"


def test_a_marked_pod_cannot_be_bound(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    kubernetes_api.bind("p")
    kubernetes_api.delete("p")
    with pytest.raises(ApiException) as error:
        kubernetes_api.bind("p", "node-2")
    assert error.value.status == 409


def test_deleting_a_missing_pod_is_404(kubernetes_api: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.delete("nobody", body=client.V1DeleteOptions())
    assert error.value.status == 404


def test_a_deletion_for_another_uid_is_409_and_deletes_nothing(
    kubernetes_api: KubernetesAPI,
) -> None:
    kubernetes_api.create("p")
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    with pytest.raises(ApiException) as error:
        kubernetes_api.delete("p", body=options)
    assert error.value.status == 409
    assert kubernetes_api.names() == ["p"]


def test_a_name_is_free_again_after_its_deletion(kubernetes_api: KubernetesAPI) -> None:
    first = kubernetes_api.create("p")
    kubernetes_api.delete("p")
    assert kubernetes_api.create("p").metadata.uid != first.metadata.uid


def test_a_collection_is_deleted_by_its_selector(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("a", worker="1")
    kubernetes_api.create("b", worker="1")
    kubernetes_api.create("c", worker="2")
    kubernetes_api.core.delete_collection_namespaced_pod(
        kubernetes_api.namespace, label_selector="worker=1"
    )
    assert kubernetes_api.names() == ["c"]
