"""The cluster that these tests disturb: one that the user names, never one that they make.

HA_CHAOS_TEST_CLUSTER is the name of a kind cluster; DOCKER_HOST and KUBECONFIG (whose current
context is that cluster) are the user's own. HA_CHAOS_TEST_IMAGE is an image on its nodes that has
bash and sleep.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from lab.kind.tools import engine
from lab.kube.client import api_client
from lab.kube.kubeconfig import single_context
from lab.undo import Undo

CLUSTER_VARIABLE = "HA_CHAOS_TEST_CLUSTER"
IMAGE_VARIABLE = "HA_CHAOS_TEST_IMAGE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip whatever stands in this folder where no cluster is given, and say so."""
    if os.environ.get(CLUSTER_VARIABLE):
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(f"no kind cluster given ({CLUSTER_VARIABLE})"))


@pytest.fixture(scope="session")
def cluster_name() -> str:
    return os.environ[CLUSTER_VARIABLE]


@pytest.fixture(scope="session")
def image() -> str:
    if name := os.environ.get(IMAGE_VARIABLE):
        return name
    pytest.skip(f"no image given ({IMAGE_VARIABLE})")


@pytest.fixture(scope="session")
def kubernetes_api(cluster_name: str) -> Any:
    """CoreV1Api of the cluster, by the client that the project itself uses."""
    assert cluster_name
    return client.CoreV1Api(api_client(single_context(os.environ["KUBECONFIG"], None)))


@pytest.fixture(scope="session")
def node(cluster_name: str) -> str:
    """A node that runs ordinary pods: a worker where there is one."""
    label = f"io.x-k8s.kind.cluster={cluster_name}"
    found = engine().containers.list(filters={"label": label})
    assert found, f"no node of the kind cluster {cluster_name} runs"
    names = [str(each.name) for each in found]
    return next((name for name in names if "worker" in name), names[0])


@pytest.fixture(scope="session")
def namespace(kubernetes_api: Any) -> Iterator[str]:
    name = f"ha-chaos-test-{uuid.uuid4().hex[:8]}"
    kubernetes_api.create_namespace({"metadata": {"name": name}})
    yield name
    kubernetes_api.delete_namespace(name, grace_period_seconds=0)


@pytest.fixture
def undo(tmp_path: Path) -> Iterator[Undo]:
    """An undo list that must be empty in the end: what was undone is struck out."""
    written = Undo(tmp_path)
    yield written
    assert written.run() == 0, "something was left to be undone"
