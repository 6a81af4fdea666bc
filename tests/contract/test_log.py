"""Pod logs, and the command line of kubeapi."""

import json

import pytest
from kubernetes.client.rest import ApiException

from tests.contract.apis import KubernetesAPI


@pytest.fixture
def logged(kubeapi: KubernetesAPI) -> KubernetesAPI:
    kubeapi.create("talker")
    (kubeapi.logs / "talker.log").write_text("one\ntwo\nthree\n")
    return kubeapi


def log(api: KubernetesAPI, name: str, **options: object) -> str:
    """Return a log the way the executor asks for it: raw."""
    answer = api.core.read_namespaced_pod_log(
        name, api.namespace, _preload_content=False, **options
    )
    return bytes(answer.data).decode()


def test_a_log_is_what_the_pod_wrote(logged: KubernetesAPI) -> None:
    assert log(logged, "talker", container="base", follow=False) == "one\ntwo\nthree\n"


def test_tail_lines_are_the_last_ones(logged: KubernetesAPI) -> None:
    assert log(logged, "talker", tail_lines=2) == "two\nthree\n"
    assert log(logged, "talker", tail_lines=0) == ""


def test_a_pod_that_has_not_started_has_an_empty_log(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("silent")
    assert log(kubernetes_api, "silent") == ""


def test_the_log_of_a_missing_pod_is_404(kubernetes_api: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        log(kubernetes_api, "nobody")
    assert error.value.status == 404


def test_the_log_of_a_container_that_the_pod_lacks_is_400(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("p")
    with pytest.raises(ApiException) as error:
        log(kubernetes_api, "p", container="sidecar")
    assert error.value.status == 400
    assert "container sidecar is not valid for pod p" in json.loads(error.value.body)["message"]
