"""A cluster that is there is used as it is; images get onto it once."""

import hashlib
import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import CACHE_VARIABLE
from lab.kind import images
from lab.kind.cluster import Cluster
from lab.kind.node import Node


@pytest.fixture
def cluster(cluster_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The user's cluster, as a fresh cache sees it."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return Cluster(cluster_name)


def users_kubeconfig() -> str:
    path = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def test_a_cluster_of_the_user_s_is_used_as_it_is(cluster: Cluster, namespace: str) -> None:
    before = users_kubeconfig()
    kubeconfig = cluster.ensure()
    assert users_kubeconfig() == before
    assert kubeconfig.stat().st_mode & 0o077 == 0
    assert kubeconfig.is_relative_to(cluster.directory)
    assert namespace


def test_a_cluster_that_is_otherwise_is_left_alone(cluster: Cluster) -> None:
    with pytest.raises(UserError, match="not other/node:1") as told:
        cluster.ensure("other/node:1")
    assert "--kind-name" in told.value.hint
    many = len(cluster.nodes()) + 1
    with pytest.raises(UserError, match=f"not {many}"):
        cluster.ensure(nodes=many)
    assert cluster.ensure(nodes=many - 1)


def test_an_image_that_is_there_is_not_loaded_again(
    cluster: Cluster, image: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    images.load(cluster, image)
    images.load(cluster, image)
    assert sum("Loading" in message for message in caplog.messages) <= 1
    for each in cluster.nodes():
        assert images.has_image(images.listing(Node(str(each.name))), image, None)


def test_an_image_that_nobody_has_is_told_in_a_line(cluster: Cluster) -> None:
    with pytest.raises(UserError, match="neither on the nodes nor in the local Docker engine") as e:
        images.load(cluster, "127.0.0.1:1/none:1")
    assert "\n" not in str(e.value)
