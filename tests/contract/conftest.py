"""The Kubernetes APIs that the contract is tested against."""

import os
from collections.abc import Iterator

import pytest

from lab.envtest import ASSETS_VARIABLE, EnvTest
from tests.contract.apis import KubernetesAPI, Server, running_kubeapi

ENVTEST = pytest.param(
    "envtest",
    marks=()
    if os.environ.get(ASSETS_VARIABLE)
    else pytest.mark.skip(f"{ASSETS_VARIABLE} is unset: no real kube-apiserver to compare with"),
)


@pytest.fixture(scope="session")
def kubeapi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("kubeapi")) as server:
        yield server


@pytest.fixture(scope="session")
def envtest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("envtest")
    with EnvTest(directory) as booted:
        yield Server("envtest", booted.kubeconfig, directory)


@pytest.fixture(params=["kubeapi", ENVTEST])
def kubernetes_api(request: pytest.FixtureRequest) -> KubernetesAPI:
    """Each API server in turn: what is promised of it holds for kubeapi and for the real one."""
    return KubernetesAPI(request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture
def kubeapi(kubeapi_server: Server) -> KubernetesAPI:
    """Our own API server, for promises that a bare kube-apiserver cannot show."""
    return KubernetesAPI(kubeapi_server)
