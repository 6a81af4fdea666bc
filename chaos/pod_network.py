"""A bad network under one pod: what it sends and receives arrives late, or not at all."""

import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kubernetes.client.exceptions import ApiException

from chaos.base import Fault, Injection, require
from common.errors import UserError
from lab.kind.node import NO_NETEM, Node, NodeLab


@dataclass(frozen=True)
class PodNetwork(Fault[NodeLab]):
    """Adds latency to one pod's packets, or loses some; all of them, not the database's alone.

        pod  eth0 ====== veth  node  ------ others
              |  netem     |   iptables (mangle): DROP with a probability, in and out
              |  delay out |
              +--- netem delay in

    `latency` seconds are added each way, give or take `jitter` (netem, which the node's kernel must
    have); `loss` is the share of packets lost each way, 0 to 1 (the node's iptables, hence the
    scope). Lost are packets of whatever connection, also the kubelet's probes. A pod that is
    replaced meanwhile has another address, and a good network.
    """

    process: str
    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0

    name = "pod-network"
    powers = ("node",)
    scope = "cluster"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.loss <= 1
            and min(self.latency, self.jitter) >= 0
            and bool(self.latency or self.loss),
            "A pod's network takes latency above 0 s, or loss from 0 to 1, or both.",
        )

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the powers that it takes: latency is netem's."""
        return (*self.powers, "netem") if self.latency else self.powers

    @property
    def detail(self) -> str:
        """What the fault does."""
        jitter = f" ± {self.jitter:g} s" if self.jitter else ""
        parts = [f"{self.latency:g} s{jitter} each way"] if self.latency else []
        parts += [f"{self.loss:.0%} of packets lost each way"] if self.loss else []
        return f"{' and '.join(parts)} on the pod's network"

    def inject(self, at: Injection[NodeLab]) -> None:
        """Make the network bad; UserError when the pod is gone or the node cannot do it."""
        at.kept = network = _Network(at.lab.node(self.process))
        if self.latency and not network.node.has_netem():
            raise UserError(f"{self.process} cannot be slowed: {NO_NETEM}.")
        address = self._address(at.lab)
        if self.loss:
            network.lose(address, self.loss)
        if self.latency:
            network.slow(address, self.latency, self.jitter)

    def _address(self, lab: NodeLab) -> str:
        try:
            pod: Any = lab.kubernetes().read_namespaced_pod(self.process, lab.namespace)
        except ApiException as error:
            raise UserError(f"There is no pod {self.process}: {error.reason}.") from error
        if not pod.status.pod_ip or pod.spec.host_network:
            raise UserError(f"The pod {self.process} has no network of its own.")
        return str(pod.status.pod_ip)

    def fired(self, at: Injection[NodeLab]) -> bool:
        """Tell whether a packet of the pod was dropped, or came by to be delayed."""
        network: _Network = at.kept
        return network.struck()

    def heal(self, at: Injection[NodeLab]) -> None:
        """Take away what was added; what is gone already, with its pod, needs nothing."""
        network: _Network | None = at.kept
        if network is not None:
            network.restore()


@dataclass
class _Network:
    """What was done in a node to a pod's network, and the commands that undo and count it."""

    node: Node
    mark: str = field(default_factory=lambda: f"ha-chaos-{uuid.uuid4().hex[:8]}")
    undo: list[list[str]] = field(default_factory=list)
    counters: list[list[str]] = field(default_factory=list)

    def lose(self, address: str, loss: float) -> None:
        """Drop before any address is translated on the way in, and after it on the way out."""
        tool = "ip6tables" if ":" in address else "iptables"
        self.counters.append([f"{tool}-save", "-c", "-t", "mangle"])
        for chain, way in (("PREROUTING", "-s"), ("POSTROUTING", "-d")):
            rule = [chain, way, address, "-m", "comment", "--comment", self.mark]
            rule += ["-m", "statistic", "--mode", "random", "--probability", f"{loss:g}"]
            table = [tool, "-w", "-t", "mangle"]
            self._apply([*table, "-I", *rule, "-j", "DROP"], [*table, "-D", *rule, "-j", "DROP"])

    def slow(self, address: str, latency: float, jitter: float) -> None:
        """Delay what leaves each end of the pod's link."""
        link = self.node.link(address)
        delay = ["netem", "delay", f"{latency * 1000:g}ms", f"{jitter * 1000:g}ms"]
        for where in (["tc", "-n", link.netns], ["tc"]):
            device = ["dev", "eth0" if "-n" in where else link.veth, "root"]
            self._apply(
                [*where, "qdisc", "add", *device, *delay], [*where, "qdisc", "del", *device]
            )
            self.counters.append([*where, "-s", "qdisc", "show", *device])

    def _apply(self, do: list[str], undo: list[str]) -> None:
        self.undo.append(undo)
        self.node.disturb(do, undo)

    def struck(self) -> bool:
        """Tell whether anything was dropped or delayed."""
        return any(self._counted(self.node.run(counter)) for counter in self.counters)

    def _counted(self, text: str) -> bool:
        """Read `[packets:bytes] -A .. our mark`, and `Sent N bytes M pkt` below netem's line."""
        lines = text.splitlines()
        dropped = [line for line in lines if self.mark in line and not line.startswith("[0:0]")]
        delayed = [
            below
            for line, below in pairwise(lines)
            if " netem " in line and not below.strip().startswith("Sent 0 bytes")
        ]
        return bool(dropped or delayed)

    def restore(self) -> None:
        """Undo in the opposite order; what fails may be tried again."""
        while self.undo:
            self.node.restore(self.undo[-1])
            self.undo.pop()
        self.counters.clear()
