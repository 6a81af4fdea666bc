"""What the boots of labs on a cluster have in common: the tunnels into it, and who looks on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import write_whole
from lab.kube.client import api_client
from lab.kube.logs import LogFollower
from lab.kube.portforward import PortForward
from lab.spec import LabSpec
from lab.state import LabState, Progress


class ReleaseBoot:
    """Boots a lab in `namespace` of a cluster; `_begin`, its first step, makes `_client`."""

    namespace: str

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None:
        self.directory = directory
        self.spec = spec
        self.state = state
        self.kubeconfig = directory / "kubeconfig"
        self._progress = Progress(directory, state)
        self._client: Any = None
        self._tunnels: list[PortForward | LogFollower] = []

    def _begin(self, kubeconfig: str | bytes) -> None:
        """Make the lab's folders and its client of the cluster that `kubeconfig` is of."""
        for folder in ("logs", "pods"):
            (self.directory / folder).mkdir(exist_ok=True)
        write_whole(self.kubeconfig, kubeconfig, mode=0o600)
        self._client = api_client(self.kubeconfig)

    def _forward(self, selector: str, port: int, namespace: str = "") -> int:
        """Return the port on loopback that leads to a port of the pods; UserError if none does."""
        forward = PortForward(self._client, namespace or self.namespace, selector, port)
        self._tunnels.append(forward)
        return forward.start()

    def _failure(self) -> str:
        """Return why the newest port-forward does not lead to a pod; empty if it does."""
        newest = self._tunnels[-1] if self._tunnels else None
        return newest.failure if isinstance(newest, PortForward) else ""

    def _follow(self, selector: str, folder: str = "logs") -> None:
        """Write the logs of the pods, those that come later too, into a folder of the lab's."""
        follower = LogFollower(self._client, self.namespace, selector, self.directory / folder)
        self._tunnels.append(follower)
        follower.start()

    def _close_tunnels(self) -> None:
        """Close all of them, in the order in which they were opened; they end with us, too."""
        while self._tunnels:
            self._tunnels.pop(0).stop()

    def reboot(self, spec: LabSpec) -> Iterator[None]:  # noqa: ARG002
        """Refuse: nothing of a release is kept for another."""
        raise UserError("a lab on a cluster cannot boot again in its place")

    def answer(self, request: dict[str, Any]) -> None:
        """Refuse: who uses the lab asks the cluster itself."""
        raise UserError(f"the supervisor of a lab on a cluster has no operation {request['op']!r}")

    def reap(self) -> None:
        """Do nothing: what ends in a cluster is known to its API."""
