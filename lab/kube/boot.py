"""The ways from this machine into a cluster that one lab holds open: port-forwards and logs."""

from pathlib import Path

from lab.kube.logs import LogFollower
from lab.kube.portforward import PortForward


class Ways:
    """Opens them one by one, and closes all at once; they also end with this process."""

    def __init__(self) -> None:
        self._open: list[PortForward | LogFollower] = []

    def forward(self, client: object, namespace: str, selector: str, port: int) -> int:
        """Return the port on loopback that leads to a port of the pods; UserError if none does."""
        forward = PortForward(client, namespace, selector, port)
        self._open.append(forward)
        return forward.start()

    def follow(self, client: object, namespace: str, selector: str, folder: Path) -> None:
        """Write the logs of the pods, those that come later too, into `folder`."""
        follower = LogFollower(client, namespace, selector, folder)
        self._open.append(follower)
        follower.start()

    def close(self) -> None:
        """Close all of them, in the order in which they were opened."""
        for way in self._open:
            way.stop()
        self._open.clear()
