"""Discovery, and the dynamic client as the executor uses it when it adopts pods."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from tests.contract.apis import KubernetesAPI

PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest.fixture
def dynamic(kubernetes_api: KubernetesAPI, tmp_path: Path) -> DynamicClient:
    return DynamicClient(kubernetes_api.client, cache_file=str(tmp_path / "discovery.json"))


@pytest.fixture
def pods(dynamic: DynamicClient) -> Any:
    return dynamic.resources.get(api_version="v1", kind="Pod")


def test_the_version_is_told(kubernetes_api: KubernetesAPI) -> None:
    version = client.VersionApi(kubernetes_api.client).get_code()
    assert version.git_version.startswith("v1.")
    assert (version.major, int(version.minor.rstrip("+")) >= 20) == ("1", True)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
def test_a_ready_server_says_ok(kubernetes_api: KubernetesAPI, path: str) -> None:
    assert kubernetes_api.request("GET", path) == (200, b"ok")


def test_pods_are_discovered_with_their_verbs(kubernetes_api: KubernetesAPI) -> None:
    found = {each.name: each for each in kubernetes_api.core.get_api_resources().resources}
    assert found["pods"].kind == "Pod"
    assert found["pods"].namespaced
    assert {"create", "delete", "get", "list", "patch", "watch"} <= set(found["pods"].verbs)
    assert {"pods/status", "pods/log", "pods/binding", "namespaces", "events"} <= set(found)


def test_the_dynamic_client_lists_metadata_alone_by_selectors(
    kubernetes_api: KubernetesAPI, dynamic: DynamicClient, pods: Any
) -> None:
    kubernetes_api.create("a", worker="1", kubernetes_executor="True")
    kubernetes_api.create("b", worker="2", kubernetes_executor="True")
    kubernetes_api.set_phase("a", "Succeeded")
    listed = dynamic.get(
        resource=pods,
        namespace=kubernetes_api.namespace,
        field_selector="status.phase=Succeeded",
        label_selector="kubernetes_executor=True,worker notin (2,3)",
        header_params={"Accept": PARTIAL},
    )
    assert listed.kind == "PartialObjectMetadataList"
    (item,) = listed.items
    assert item.metadata.name == "a"
    assert item.metadata.annotations.to_dict()["try_number"] == "1"
    assert "spec" not in item.to_dict()
    assert "status" not in item.to_dict()


def test_the_dynamic_client_creates_patches_and_deletes(
    kubernetes_api: KubernetesAPI, pods: Any
) -> None:
    namespace = kubernetes_api.namespace
    pods.create(body=kubernetes_api.pod("p", a="1"), namespace=namespace)
    patched = pods.patch(name="p", namespace=namespace, body={"metadata": {"labels": {"a": "2"}}})
    assert patched.metadata.labels.a == "2"
    pods.delete(name="p", namespace=namespace)
    with pytest.raises(NotFoundError):
        pods.get(name="p", namespace=namespace)


def test_the_dynamic_client_watches(kubernetes_api: KubernetesAPI, pods: Any) -> None:
    kubernetes_api.create("p")
    stream = pods.watch(namespace=kubernetes_api.namespace, resource_version=0, timeout=5)
    (event,) = itertools.islice(stream, 1)
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "p")


def test_a_resource_that_is_not_served_is_404(dynamic: DynamicClient) -> None:
    with pytest.raises(NotFoundError):
        dynamic.request("get", "/api/v1/namespaces/default/teapots")
