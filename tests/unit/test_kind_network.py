"""What a pod's bad network is made of, in a node's own commands, and that all of it is undone."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaos.base import Injection
from chaos.pod_network import PodNetwork
from common.errors import UserError
from lab.kind.node import Link, NodeLab

TC = """\
qdisc netem 8001: root refcnt 2 limit 1000 delay 200ms
 Sent {sent} bytes {sent} pkt (dropped 0, overlimits 0 requeues 0)
"""


class RecordingNode:
    """A node that writes down what it is told; its kernel has netem."""

    def __init__(self) -> None:
        self.does: list[str] = []
        self.sent = 0

    def has_netem(self) -> bool:
        return True

    def link(self, pod_ip: str) -> Link:
        assert pod_ip == "10.1.2.3"
        return Link("cni-1", "veth1")

    def disturb(self, do: Sequence[str], undo: Sequence[str]) -> None:
        assert undo
        self.does.append(" ".join(do))

    def restore(self, undo: Sequence[str]) -> None:
        self.does.append(" ".join(undo))

    def run(self, argv: Sequence[str]) -> str:
        assert argv
        return TC.format(sent=self.sent)


class OnePod:
    """The least of a lab with one pod in it."""

    namespace = "here"

    def process(self, role: str) -> str:
        return role

    def node(self, process: str) -> RecordingNode:
        assert process == "s"
        return RecordingNode()

    def kubernetes(self) -> Any:
        pod = SimpleNamespace(
            status=SimpleNamespace(pod_ip="10.1.2.3"), spec=SimpleNamespace(host_network=None)
        )
        return SimpleNamespace(read_namespaced_pod=lambda name, namespace: pod)  # noqa: ARG005


@pytest.fixture
def lab() -> NodeLab:
    return cast(NodeLab, OnePod())


def node_of(fault: Injection[NodeLab]) -> RecordingNode:
    return cast(RecordingNode, fault.kept.node)


def test_latency_is_added_on_both_ends_of_the_pod_s_link_and_taken_away(lab: NodeLab) -> None:
    with PodNetwork("s", latency=0.2, jitter=0.05).on(lab) as fault:
        assert node_of(fault).does == [
            "tc -n cni-1 qdisc add dev eth0 root netem delay 200ms 50ms",
            "tc qdisc add dev veth1 root netem delay 200ms 50ms",
        ]
    assert node_of(fault).does[2:] == [
        "tc qdisc del dev veth1 root",
        "tc -n cni-1 qdisc del dev eth0 root",
    ]


def test_latency_has_fired_once_a_packet_came_by(lab: NodeLab) -> None:
    with PodNetwork("s", latency=0.2).on(lab) as fault:
        assert not fault.fired()
        node_of(fault).sent = 98
        assert fault.fired()


def test_every_rule_of_a_loss_is_taken_away_by_its_own_words(lab: NodeLab) -> None:
    with PodNetwork("s", loss=0.25).on(lab) as fault:
        added = list(node_of(fault).does)
        assert len(added) == 2
        assert all("--probability 0.25" in rule and "10.1.2.3" in rule for rule in added)
    removed = node_of(fault).does[2:]
    assert removed == [rule.replace(" -I ", " -D ") for rule in reversed(added)]


def test_the_words_of_a_report_say_how_much() -> None:
    both = PodNetwork("s", latency=0.2, jitter=0.05, loss=0.1)
    assert both.detail == (
        "0.2 s ± 0.05 s each way and 10% of packets lost each way on the pod's network"
    )
    assert PodNetwork("s", loss=1).detail == ("100% of packets lost each way on the pod's network")


@pytest.mark.parametrize(
    "wrong", [{}, {"loss": 1.1}, {"loss": -0.1}, {"latency": -1.0}, {"jitter": 0.1}]
)
def test_a_network_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="latency above 0 s, or loss from 0 to 1"):
        PodNetwork("s", **wrong)


def test_only_latency_needs_a_kernel_with_netem() -> None:
    assert PodNetwork("s", loss=0.1).needs == ("node",)
    assert PodNetwork("s", latency=0.1).needs == ("node", "netem")
