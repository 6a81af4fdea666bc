"""A node that stops with all that runs on it: a live migration, a host out of memory."""

import time
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from chaos.base import Fault, Injection
from common.errors import UserError
from common.waiting import Deadline
from lab.kind.node import Node, NodeLab
from lab.kube.pods import is_ready

_PATIENCE = 120.0
_STEP = 0.1


@dataclass(frozen=True)
class NodePause(Fault[NodeLab]):
    """Freezes the node of a kind cluster that runs a process (`docker pause`), with all on it.

        pods, kubelet  ======|            |======>
                          frozen       healed   the API answers, the node is Ready
        their clients  ------- no answer --------->

    Connections stay as they are. Where the node is the cluster's only one, the API server and
    every other lab's pods stand still with it: hence the scope. Longer than 40 s, a cluster of
    several nodes calls the node lost.
    """

    process: str

    name = "node-pause"
    powers = ("node",)
    scope = "cluster"

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"its node frozen{self.at_least}"

    def inject(self, at: Injection[NodeLab]) -> None:
        """Freeze the node; UserError when the Docker engine has none of that name."""
        at.kept = at.lab.node(self.process)
        at.kept.pause()

    def fired(self, at: Injection[NodeLab]) -> bool:
        """Tell whether the node is frozen."""
        node: Node = at.kept
        return node.paused()

    def heal(self, at: Injection[NodeLab]) -> str | None:
        """Let the node go on; returns when the API server answers and calls it Ready.

        Raises UserError when that takes over two minutes.
        """
        node: Node | None = at.kept
        if node is None:
            return None
        node.unpause()
        deadline = Deadline(_PATIENCE)
        while problem := _problem(at.lab, node):
            if deadline.passed:
                raise UserError(
                    f"The node {node.name} goes on, but {problem} after {_PATIENCE:.0f} s."
                )
            time.sleep(_STEP)
        return f"node {node.name} Ready {_PATIENCE - deadline.left:.1f} s after it went on"


def _problem(lab: NodeLab, node: Node) -> str:
    """Return what is still wrong, empty when nothing is."""
    try:
        found: Any = lab.kubernetes().read_node(node.name, _request_timeout=2)
    except (ApiException, HTTPError, OSError):
        return "the API server does not answer"
    return "" if is_ready(found) else "it is not Ready"
