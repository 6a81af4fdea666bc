"""The Kubernetes APIs that the contract is tested against."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.embedded.envtest import ASSETS_VARIABLE, EnvTest
from tests.contract.apis import (
    CLUSTER_VARIABLE,
    KubernetesAPI,
    Server,
    own_namespace,
    remove_stale_namespaces,
    running_kubeapi,
)

OTHERS = {
    "envtest": ASSETS_VARIABLE,
    "cluster": CLUSTER_VARIABLE,
}
"""The APIs that are not our own, by the variable that says where they are."""

THERE = [kind for kind, variable in OTHERS.items() if os.environ.get(variable)]


@pytest.fixture(scope="session")
def kubeapi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("kubeapi")) as server:
        yield server


@pytest.fixture(scope="session")
def envtest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("envtest")
    with closing(EnvTest(directory).start()) as booted:
        yield Server("envtest", booted.kubeconfig, directory)


@pytest.fixture(scope="session")
def cluster_server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    kubeconfig = Path(os.environ[CLUSTER_VARIABLE]).expanduser()
    remove_stale_namespaces(kubeconfig)
    return Server("cluster", kubeconfig, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(params=["kubeapi", *THERE])
def kubernetes_api(request: pytest.FixtureRequest) -> Iterator[KubernetesAPI]:
    """Each API server in turn: what is promised of it holds for kubeapi and for the real ones."""
    with own_namespace(request.getfixturevalue(f"{request.param}_server")) as api:
        yield api


@pytest.fixture
def elsewhere(kubernetes_api: KubernetesAPI) -> Iterator[KubernetesAPI]:
    """Another namespace of the same API server."""
    server = Server(kubernetes_api.kind, kubernetes_api.kubeconfig, kubernetes_api.logs)
    with own_namespace(server) as api:
        yield api


@pytest.fixture
def cluster_api(request: pytest.FixtureRequest) -> Server:
    """A cluster alone, for what its controllers have a part in."""
    if "cluster" not in THERE:
        pytest.skip(f"only a cluster shows it: {CLUSTER_VARIABLE} is not set")
    server: Server = request.getfixturevalue("cluster_server")
    return server


@pytest.fixture
def kubeapi(kubeapi_server: Server) -> KubernetesAPI:
    """Our own API server, for promises that a bare kube-apiserver cannot show."""
    return KubernetesAPI(kubeapi_server)
