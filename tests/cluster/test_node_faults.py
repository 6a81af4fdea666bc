"""Nodes, containers and pods' networks are disturbed, and healed whoever heals them."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from chaos.node_pause import NodePause
from chaos.pod_network import PodNetwork
from common.errors import UserError
from lab.kind.lease import exclusive, shared
from lab.kind.node import NO_NETEM, Node, NodeLab
from lab.undo import Undo
from tests.cluster.disturbed import (
    PodsLab,
    answers,
    beating,
    eventually,
    goes_on,
    stands_still,
)


@pytest.fixture
def lab(kubernetes_api: Any, namespace: str, undo: Undo) -> PodsLab:
    return PodsLab(kubernetes_api, namespace, undo)


@pytest.fixture
def pod(lab: PodsLab, image: str, node: str) -> Iterator[str]:
    with beating(lab, image, node) as name:
        yield name


def as_lab(lab: PodsLab) -> NodeLab:
    return cast(NodeLab, lab)


def fault_process(fault: str, pod: str, namespace: str, directory: Path) -> "subprocess.Popen[str]":
    """Begin a fault in another process, which waits to be killed."""
    script = f"""
import sys, time
from pathlib import Path
from kubernetes import client, config
from chaos.node_pause import NodePause
from chaos.pod_network import PodNetwork
from lab.kind.node import NO_NETEM, Node
from lab.undo import Undo
from tests.cluster.disturbed import PodsLab
config.load_kube_config()
lab = PodsLab(client.CoreV1Api(), {namespace!r}, Undo(Path({str(directory)!r})))
pod = {pod!r}
{fault}
print("bites", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "bites\n"
    return process


def test_a_frozen_container_stands_still_and_goes_on(lab: PodsLab, pod: str) -> None:
    node = lab.node(pod)
    node.freeze(lab.container(pod))
    node.freeze(lab.container(pod))
    assert stands_still(lab, pod)
    node.thaw(lab.container(pod))
    assert goes_on(lab, pod)
    node.thaw(lab.container(pod))


def test_a_killed_container_is_restarted(lab: PodsLab, pod: str) -> None:
    before = lab.container(pod)
    lab.node(pod).kill(before)
    assert eventually(lambda: lab.container(pod) != before, 60)
    lab.node(pod).thaw(before)


def test_a_node_pause_stops_its_pods_and_they_go_on(
    lab: PodsLab, pod: str, cluster_name: str
) -> None:
    told: list[tuple[str, ...]] = []
    node = lab.node(pod)
    with exclusive(cluster_name, 600):
        begun = time.monotonic()
        with NodePause(pod, seconds=3.0).on(as_lab(lab), lambda *each: told.append(each)) as fault:
            assert fault.fired()
            with pytest.raises(UserError, match="refuses"):
                node.run(["true"])
        assert time.monotonic() - begun >= 3.0
        assert not fault.fired()
    assert goes_on(lab, pod)
    assert [each[0] for each in told] == ["begin", "end"]
    assert told[0][3] == "its node frozen for 3 s or more"
    assert told[1][3].startswith(f"node {node.name} Ready")


def test_a_node_that_a_killed_test_froze_goes_on_by_the_undo_list(
    lab: PodsLab, pod: str, cluster_name: str, tmp_path: Path
) -> None:
    node = lab.node(pod)
    with exclusive(cluster_name, 600):
        process = fault_process("NodePause(pod).on(lab).begin()", pod, lab.namespace, tmp_path)
        try:
            assert node.paused()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            undone = Undo(tmp_path).run()
        assert undone == 1
        assert not node.paused()
    assert goes_on(lab, pod)


def test_a_pod_without_network_answers_nobody_until_it_is_healed(lab: PodsLab, pod: str) -> None:
    node = lab.node(pod)
    address = str(lab.read(pod).status.pod_ip)
    assert answers(node, address)
    with PodNetwork(pod, loss=1.0).on(as_lab(lab)) as fault:
        assert not fault.fired()
        assert not answers(node, address)
        assert fault.fired()
    assert answers(node, address)


def test_a_pod_on_a_bad_network_answers_now_and_then(lab: PodsLab, pod: str) -> None:
    node = lab.node(pod)
    address = str(lab.read(pod).status.pod_ip)
    with PodNetwork(pod, loss=0.3).on(as_lab(lab)):
        answered = {answers(node, address) for _ in range(30)}
    assert answered == {True, False}
    assert all(answers(node, address) for _ in range(5))


def test_the_network_of_one_pod_is_not_another_s(
    lab: PodsLab, pod: str, image: str, node: str
) -> None:
    with beating(lab, image, node) as other, PodNetwork(pod, loss=1.0).on(as_lab(lab)):
        assert answers(Node(node), str(lab.read(other).status.pod_ip))


def test_what_a_killed_test_did_to_a_network_is_undone(
    lab: PodsLab, pod: str, tmp_path: Path
) -> None:
    node = lab.node(pod)
    address = str(lab.read(pod).status.pod_ip)
    process = fault_process(
        "PodNetwork(pod, loss=1.0).on(lab).begin()", pod, lab.namespace, tmp_path
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not answers(node, address)
    assert Undo(tmp_path).run() == 2
    assert answers(node, address)
    assert address not in node.run(["iptables-save", "-t", "mangle"])


def test_a_fault_whose_pod_is_gone_is_healed_all_the_same(
    lab: PodsLab, image: str, node: str
) -> None:
    with beating(lab, image, node) as name:
        address = str(lab.read(name).status.pod_ip)
        fault = PodNetwork(name, loss=1.0).on(as_lab(lab))
        fault.begin()
    fault.end()
    assert address not in Node(node).run(["iptables-save", "-t", "mangle"])


def test_latency_is_added_each_way_or_plainly_refused(lab: PodsLab, pod: str) -> None:
    node = lab.node(pod)
    address = str(lab.read(pod).status.pod_ip)
    fault = PodNetwork(pod, latency=0.4).on(as_lab(lab))
    if not node.has_netem():
        with pytest.raises(UserError, match=NO_NETEM):
            fault.begin()
    else:
        with fault:
            assert not answers(node, address)
            assert fault.fired()
    assert answers(node, address)


def test_a_pod_s_link_is_found_by_its_address(lab: PodsLab, pod: str) -> None:
    node = lab.node(pod)
    link = node.link(str(lab.read(pod).status.pod_ip))
    name = node.run(["ip", "netns", "exec", link.netns, "cat", "/proc/sys/kernel/ostype"])
    assert name.strip() == "Linux"
    assert link.veth in node.run(["ip", "-o", "link", "show"])
    with pytest.raises(UserError, match=r"has the address 192\.0\.2\.1"):
        node.link("192.0.2.1")


def test_the_cluster_can_be_shared_when_its_faults_are_over(cluster_name: str) -> None:
    with shared(cluster_name, 5):
        pass
