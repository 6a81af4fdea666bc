"""A node that stops with all that runs on it: a live migration, a host out of memory."""

import time
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from chaos.base import Fault, Record
from common.errors import UserError
from lab.base import Lab
from lab.kind.node import Node

_PATIENCE = 120.0
_STEP = 0.1


class NodePause(Fault):
    """Freezes one node of a kind cluster (`docker pause`): its pods, its kubelet, its network.

        pods, kubelet  ======|            |======>
                          frozen       healed   the API answers, the node is Ready
        their clients  ------- no answer --------->

    Connections stay as they are. The node is the one that runs `process`, or the `node` named.
    Where it is the cluster's only one, the API server and every other lab's pods stand still with
    it: hence the scope. Longer than 40 s, a cluster of several nodes calls the node lost.
    """

    name = "node-pause"
    scope = "cluster"

    def __init__(
        self,
        lab: Lab,
        process: str,
        node: str = "",
        seconds: float = 0.0,
        record: Record | None = None,
    ) -> None:
        super().__init__(process, record, seconds)
        self._lab = lab
        self._node = Node(node or lab.node_of(process), lab.undo)

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab's nodes cannot be reached, None when they can."""
        return lab.lacks("node")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"node {self._node.name} frozen"

    def inject(self) -> None:
        """Freeze the node; UserError when the Docker engine has none of that name."""
        self._node.pause()

    def fired(self) -> bool:
        """Tell whether the node is frozen."""
        return self._node.paused()

    def heal(self) -> str:
        """Let the node go on; returns when the API server answers and calls it Ready.

        Raises UserError when that takes over two minutes.
        """
        self._node.unpause()
        begun = time.monotonic()
        while ill := self._problem():
            if time.monotonic() - begun > _PATIENCE:
                raise UserError(
                    f"The node {self._node.name} goes on, but {ill} after {_PATIENCE:.0f} s."
                )
            time.sleep(_STEP)
        return f"Ready {time.monotonic() - begun:.1f} s after it went on"

    def _problem(self) -> str:
        """Return what is still amiss, empty when nothing is."""
        try:
            node: Any = self._lab.kubernetes().read_node(self._node.name, _request_timeout=2)
        except (ApiException, HTTPError, OSError):
            return "the API server does not answer"
        ready = [each.status for each in node.status.conditions or () if each.type == "Ready"]
        return "" if ready == ["True"] else "it is not Ready"
