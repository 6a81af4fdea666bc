"""Which Kubernetes APIs the contract was tested against: said once, not by every test."""

import os

import pytest
from kubernetes import client, config

from lab.embedded.envtest import ASSETS_VARIABLE
from tests.contract.apis import CLUSTER_VARIABLE, Server


@pytest.mark.parametrize(
    ("kind", "variable", "what"),
    [
        ("envtest", ASSETS_VARIABLE, "a directory with etcd and kube-apiserver (setup-envtest)"),
        ("cluster", CLUSTER_VARIABLE, "the kubeconfig of a cluster to make namespaces in"),
    ],
)
def test_the_contract_is_tested_against_it(
    kind: str, variable: str, what: str, request: pytest.FixtureRequest
) -> None:
    if not os.environ.get(variable):
        pytest.skip(f"the contract was not tested against {kind}: set {variable} to {what}")
    server: Server = request.getfixturevalue(f"{kind}_server")
    api = config.new_client_from_config(str(server.kubeconfig))
    assert client.VersionApi(api).get_code().git_version.startswith("v")
