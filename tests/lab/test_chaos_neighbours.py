"""A fault strikes the lab's own worker pods, whoever else is in its namespace."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from chaos.pod_deletion import PodDeletion
from lab.base import Lab
from lab.kube.pods import own_workers
from tests.contract.apis import KubernetesAPI, running_kubeapi
from tests.labs import eventually


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesAPI]:
    with running_kubeapi(tmp_path / "kubeapi") as server:
        yield KubernetesAPI(server)


def test_pods_of_another_release_are_never_deleted(api: KubernetesAPI) -> None:
    for name, labels in (
        ("a-theirs", {"release": "airflow-dev"}),
        ("b-nobody-s", {}),
        ("c-ours", {"release": "airflow"}),
    ):
        api.create(name, kubernetes_executor="True", **labels)
        api.set_phase(name, "Running")
    lab = SimpleNamespace(
        namespace=api.namespace,
        kubernetes=lambda: api.core,
        worker_pods=own_workers("airflow", ["airflow-dev"]),
    )
    with PodDeletion(interval=0.1, grace=0).on(cast("Lab", lab)) as fault:
        assert eventually(fault.fired)
    assert fault.kept.deleted == ["c-ours"]
    left = api.core.list_namespaced_pod(api.namespace).items
    assert {pod.metadata.name for pod in left} == {"a-theirs", "b-nobody-s"}


@pytest.mark.parametrize(("ended", "gone"), [(False, {"runs"}), (True, {"failed", "succeeded"})])
def test_those_that_run_are_deleted_or_those_that_have_ended(
    api: KubernetesAPI, ended: bool, gone: set[str]
) -> None:
    phases = {"waits": "Pending", "runs": "Running", "succeeded": "Succeeded", "failed": "Failed"}
    for name, phase in phases.items():
        api.create(name, kubernetes_executor="True")
        api.set_phase(name, phase)
    lab = SimpleNamespace(
        namespace=api.namespace, kubernetes=lambda: api.core, worker_pods=own_workers("a", [])
    )
    with PodDeletion(interval=0.1, grace=0, ended=ended).on(cast("Lab", lab)) as fault:
        assert eventually(lambda: len(fault.kept.deleted) == len(gone))
    assert set(fault.kept.deleted) == gone
    left = api.core.list_namespaced_pod(api.namespace).items
    assert {pod.metadata.name for pod in left} == phases.keys() - gone
