"""Lists: label and field selectors, all namespaces, pages."""

import pytest
from kubernetes.client.rest import ApiException

from tests.contract.apis import KubernetesAPI


@pytest.fixture
def pods(kubernetes_api: KubernetesAPI) -> KubernetesAPI:
    """Four pods of two schedulers: one done, one running on a node, one without labels."""
    kubernetes_api.create("a", worker="1")
    kubernetes_api.create("b", worker="1", done="True")
    kubernetes_api.create("c", worker="2")
    kubernetes_api.create("d")
    kubernetes_api.bind("c", "node-7")
    kubernetes_api.set_phase("c", "Running")
    kubernetes_api.set_phase("b", "Succeeded")
    return kubernetes_api


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "abcd"),
        ("worker=1", "ab"),
        ("worker==1", "ab"),
        ("worker!=1", "cd"),
        ("worker", "abc"),
        ("!worker", "d"),
        ("worker in (1,2)", "abc"),
        ("worker in (2, 3)", "c"),
        ("worker notin (1)", "cd"),
        ("worker notin (1, 2)", "d"),
        ("worker=1,done!=True", "a"),
        ("worker in (1,2),done", "b"),
        (" worker = 1 , !done ", "a"),
        ("worker=", ""),
        ("other=1", ""),
    ],
)
def test_a_label_selector_lists_exactly_the_pods_that_satisfy_it(
    pods: KubernetesAPI, selector: str, names: str
) -> None:
    assert pods.names(label_selector=selector) == list(names)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", "a"),
        ("metadata.name!=a", "bcd"),
        ("status.phase=Succeeded", "b"),
        ("status.phase!=Succeeded", "acd"),
        ("status.phase==Running,spec.nodeName=node-7", "c"),
        ("spec.nodeName=", "abd"),
        ("spec.nodeName!=", "c"),
    ],
)
def test_a_field_selector_lists_exactly_the_pods_that_satisfy_it(
    pods: KubernetesAPI, selector: str, names: str
) -> None:
    assert pods.names(field_selector=selector) == list(names)


def test_both_selectors_must_be_satisfied(pods: KubernetesAPI) -> None:
    listed = pods.names(label_selector="worker=1", field_selector="status.phase!=Succeeded")
    assert listed == ["a"]


def test_the_list_of_all_namespaces_is_narrowed_by_metadata_namespace(pods: KubernetesAPI) -> None:
    everywhere = pods.core.list_pod_for_all_namespaces(
        field_selector=f"metadata.namespace={pods.namespace}"
    )
    assert [item.metadata.name for item in everywhere.items] == list("abcd")
    assert pods.core.list_namespaced_pod("contract-empty").items == []


@pytest.mark.parametrize("selector", ["worker in 1", "=x", "a b", "worker in (1"])
def test_a_label_selector_that_makes_no_sense_is_400(
    kubernetes_api: KubernetesAPI, selector: str
) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.names(label_selector=selector)
    assert error.value.status == 400


@pytest.mark.parametrize("selector", ["spec.hostname=x", "status.phase"])
def test_a_field_that_cannot_be_selected_by_is_400(
    kubernetes_api: KubernetesAPI, selector: str
) -> None:
    with pytest.raises(ApiException) as error:
        kubernetes_api.names(field_selector=selector)
    assert error.value.status == 400


def test_pages_make_up_the_list_as_it_was_at_the_first_page(pods: KubernetesAPI) -> None:
    first = pods.core.list_namespaced_pod(pods.namespace, limit=3)
    assert [item.metadata.name for item in first.items] == list("abc")
    pods.create("e")
    rest = pods.core.list_namespaced_pod(
        pods.namespace, limit=3, _continue=first.metadata._continue
    )
    assert [item.metadata.name for item in rest.items] == ["d"]
    assert rest.metadata.resource_version == first.metadata.resource_version
    assert not rest.metadata._continue
