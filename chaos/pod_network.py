"""A bad network under one pod: what it sends and receives arrives late, or not at all."""

import uuid
from itertools import pairwise
from typing import Any

from kubernetes.client.exceptions import ApiException

from chaos.base import Fault, Record
from common.errors import UserError
from lab.base import Lab
from lab.kind.node import NO_NETEM, Node


class PodNetwork(Fault):
    """Adds latency to one pod's packets, or loses some; all of them, not the database's alone.

        pod  eth0 ====== veth  node  ------ others
              |  netem     |   iptables (mangle): DROP with a probability, in and out
              |  delay out |
              +--- netem delay in

    `seconds` are added each way, give or take `jitter` (netem, which the node's kernel must have);
    `loss` is the share of packets lost each way, 0 to 1 (the node's iptables). Lost are packets
    of whatever connection, also the kubelet's probes. A pod that is replaced meanwhile has another
    address, and a good network.
    """

    name = "pod-network"

    def __init__(
        self,
        lab: Lab,
        process: str,
        seconds: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        lasts: float = 0.0,
        record: Record | None = None,
    ) -> None:
        super().__init__(process, record, lasts)
        if not 0 <= loss <= 1 or min(seconds, jitter) < 0 or not (seconds or loss):
            raise UserError(
                "A pod's network takes latency above 0 s, or loss from 0 to 1, or both."
            )
        self.seconds = seconds
        self.jitter = jitter
        self.loss = loss
        self._lab = lab
        self._node = Node(lab.node_of(process), lab.undo)
        self._mark = f"ha-chaos-{uuid.uuid4().hex[:8]}"
        self._undo: list[list[str]] = []
        self._counters: list[list[str]] = []

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab's nodes cannot be reached, None when they can."""
        return lab.lacks("node")

    @property
    def detail(self) -> str:
        """What the fault does."""
        jitter = f" ± {self.jitter:g} s" if self.jitter else ""
        parts = [f"{self.seconds:g} s{jitter} each way"] if self.seconds else []
        parts += [f"{self.loss:.0%} of packets lost each way"] if self.loss else []
        return f"{' and '.join(parts)} on the pod's network"

    def inject(self) -> None:
        """Make the network bad; UserError when the pod is gone or the node cannot do it."""
        if self.seconds and not self._node.has_netem():
            raise UserError(f"{self.process} cannot be slowed: {NO_NETEM}.")
        address = self._address()
        if self.loss:
            self._lose(address)
        if self.seconds:
            self._slow(address)

    def _address(self) -> str:
        try:
            pod: Any = self._lab.kubernetes().read_namespaced_pod(self.process, self._lab.namespace)
        except ApiException as error:
            raise UserError(f"There is no pod {self.process}: {error.reason}.") from error
        if not pod.status.pod_ip or pod.spec.host_network:
            raise UserError(f"The pod {self.process} has no network of its own.")
        return str(pod.status.pod_ip)

    def _lose(self, address: str) -> None:
        """Drop before any address is translated on the way in, and after it on the way out."""
        tool = "ip6tables" if ":" in address else "iptables"
        self._counters.append([f"{tool}-save", "-c", "-t", "mangle"])
        for chain, way in (("PREROUTING", "-s"), ("POSTROUTING", "-d")):
            rule = [chain, way, address, "-m", "comment", "--comment", self._mark]
            rule += ["-m", "statistic", "--mode", "random", "--probability", f"{self.loss:g}"]
            table = [tool, "-w", "-t", "mangle"]
            self._apply([*table, "-I", *rule, "-j", "DROP"], [*table, "-D", *rule, "-j", "DROP"])

    def _slow(self, address: str) -> None:
        link = self._node.link(address)
        delay = ["netem", "delay", f"{self.seconds * 1000:g}ms", f"{self.jitter * 1000:g}ms"]
        for where in (["tc", "-n", link.netns], ["tc"]):
            device = ["dev", "eth0" if "-n" in where else link.veth, "root"]
            self._apply(
                [*where, "qdisc", "add", *device, *delay], [*where, "qdisc", "del", *device]
            )
            self._counters.append([*where, "-s", "qdisc", "show", *device])

    def _apply(self, do: list[str], undo: list[str]) -> None:
        self._undo.append(undo)
        self._node.disturb(do, undo)

    def fired(self) -> bool:
        """Tell whether a packet of the pod was dropped, or came by to be delayed."""
        return any(self._struck(self._node.run(counter)) for counter in self._counters)

    def _struck(self, text: str) -> bool:
        """Read `[packets:bytes] -A .. our mark`, and `Sent N bytes M pkt` below netem's line."""
        lines = text.splitlines()
        dropped = [line for line in lines if self._mark in line and not line.startswith("[0:0]")]
        delayed = [
            below
            for line, below in pairwise(lines)
            if " netem " in line and not below.strip().startswith("Sent 0 bytes")
        ]
        return bool(dropped or delayed)

    def heal(self) -> str:
        """Take away what was added; what is gone already, with its pod, needs nothing."""
        while self._undo:
            self._node.restore(self._undo[-1])
            self._undo.pop()
        self._counters.clear()
        return ""
