"""One node of a kind cluster, which is a container: what can be done to it and to its pods.

Whatever disturbs is written into the lab's undo list first, as a command of Docker's own command
line, so that it is undone whoever comes to clear away, and from wherever.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

import tenacity
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from common.errors import UserError
from common.files import last_line
from lab.base import Lab
from lab.kind.tools import docker_argv, engine
from lab.undo import Undo

_LIMIT = 30
_PATIENCE = 10.0
_STEP = 0.1
_CTR = ("ctr", "-n", "k8s.io")
# A line an address: the network namespace's name, then what `ip` says; a pod may just have gone.
_ADDRESSES = """
for name in $(ip netns list | cut -d' ' -f1); do
    ip -n $name -o addr show dev eth0 2>/dev/null | sed "s/^/$name /"
done
"""
_PEER = re.compile(r"eth0@if(\d+):")

NO_NETEM = (
    "the node's kernel has no netem; use network-latency, which delays the database link in the "
    "proxy"
)


@dataclass(frozen=True)
class Link:
    """A pod's way into its node's network: its network namespace, and its end in the node."""

    netns: str
    veth: str


class Node:
    """The node whose container has this name; what disturbs it goes into `undo` first."""

    def __init__(self, name: str, undo: Undo | None = None) -> None:
        self.name = name
        self._undo = undo

    def pause(self) -> None:
        """Freeze the node and all that runs in it, until `unpause`; fine where it is frozen."""
        self._note("unpause", self.name)
        _freezing(self._pause)

    def _pause(self) -> None:
        with self._container() as container:
            if container.status != "paused":
                container.pause()

    def unpause(self) -> None:
        """Let the node go on; fine where it is not frozen."""
        with self._container() as container:
            if container.status == "paused":
                container.unpause()
        self._strike("unpause", self.name)

    def paused(self) -> bool:
        """Tell whether the node is frozen."""
        with self._container() as container:
            return bool(container.status == "paused")

    def run(self, argv: Sequence[str]) -> str:
        """Run a command in the node; return its output.

        Raises UserError with its last line when it fails, takes over 30 s, or the node is frozen.
        """
        with self._container() as container:
            done = container.exec_run(["timeout", str(_LIMIT), *argv], demux=True)
            output, errors = ((part or b"").decode(errors="replace") for part in done.output)
        if done.exit_code:
            reason = last_line(errors.strip() or output, "it gave no reason")
            raise UserError(f"{' '.join(argv[:3])} failed in the node {self.name}: {reason}")
        return output

    def disturb(self, do: Sequence[str], undo: Sequence[str]) -> None:
        """Run a command in the node, once `undo`, which takes it back, is written down."""
        self._note("exec", self.name, *undo)
        self.run(do)

    def restore(self, undo: Sequence[str]) -> None:
        """Take back what `disturb` did, by the same command, and strike it out.

        Where the command fails though the node answers, nothing is left to take back: the pod's
        link has gone with its pod.
        """
        try:
            self.run(undo)
        except UserError:
            self.run(["true"])
        self._strike("exec", self.name, *undo)

    def freeze(self, container_id: str) -> None:
        """Freeze one container (its cgroup's freezer), until `thaw`; fine where it is frozen."""
        task = _task(container_id)
        self._note("exec", self.name, *_CTR, "task", "resume", task)
        _freezing(lambda: self._turn("pause", task, lambda status: status == "PAUSED"))

    def thaw(self, container_id: str) -> None:
        """Let a container go on; fine where it is not frozen, or is gone."""
        task = _task(container_id)
        self._turn("resume", task, lambda status: status != "PAUSED")
        self._strike("exec", self.name, *_CTR, "task", "resume", task)

    def kill(self, container_id: str) -> None:
        """Kill a container's main process (SIGKILL); the kubelet sees it and starts another."""
        self.run([*_CTR, "task", "kill", "--signal", "SIGKILL", _task(container_id)])

    def link(self, pod_ip: str) -> Link:
        """Return how a pod that runs on this node is linked to it; UserError where none has the IP.

        Each pod's network namespace has a name (containerd mounts it for the CNI plugin), and its
        `eth0` says the number of its other end, whatever the plugin makes of that.
        """
        address = re.compile(rf"(\S+) .*\binet6? {re.escape(pod_ip)}/")
        if found := address.search(self.run(["sh", "-c", _ADDRESSES])):
            eth0 = self.run(["ip", "-n", found[1], "-o", "link", "show", "dev", "eth0"])
            peer = _PEER.search(eth0)
            for own in self.run(["ip", "-o", "link", "show"]).splitlines():
                number, name, *_ = own.split()
                if peer and number == f"{peer[1]}:":
                    return Link(found[1], name.rstrip(":").partition("@")[0])
        raise UserError(f"No pod on the node {self.name} has the address {pod_ip}.")

    def has_netem(self) -> bool:
        """Tell whether the node's kernel can delay packets (sch_netem), by trying on a new link.

        Nothing that the cluster uses is touched. The module is loaded where it has to be and can.
        """
        trial = f"hc{uuid.uuid4().hex[:8]}"
        script = (
            "modprobe sch_netem 2>/dev/null; "
            f"ip link add {trial} type veth || exit 1; "
            f"tc qdisc add dev {trial} root netem delay 1ms; found=$?; "
            f"ip link del {trial}; exit $found"
        )
        try:
            self.run(["sh", "-c", script])
        except UserError:
            return False
        return True

    def _turn(self, how: str, task: str, there: Callable[[str], bool]) -> None:
        """Pause or resume a task; fails only where it is not as wanted afterwards."""
        try:
            self.run([*_CTR, "task", how, task])
        except UserError:
            if not there(self._task_status(task)):
                raise

    def _task_status(self, task: str) -> str:
        lines = self.run([*_CTR, "task", "ls"]).splitlines()
        return next((line.split()[-1] for line in lines if line.startswith(task)), "")

    @contextmanager
    def _container(self) -> Iterator[Container]:
        try:
            with closing(engine()) as client:
                yield client.containers.get(self.name)
        except NotFound:
            raise UserError(
                f"The Docker engine has no node {self.name}.",
                "It must be the engine that runs the kind cluster: see DOCKER_HOST.",
            ) from None
        except APIError as error:
            raise UserError(f"The node {self.name} refuses: {error.explanation}.") from error
        except (DockerException, OSError) as error:
            raise UserError(f"The node {self.name} cannot be reached: {error}.") from error

    def _note(self, *arguments: str) -> None:
        if self._undo is not None:
            self._undo.add(docker_argv(*arguments))

    def _strike(self, *arguments: str) -> None:
        if self._undo is not None:
            self._undo.done(docker_argv(*arguments))


class NodeLab(Lab, Protocol):
    """A lab that has the power `node`: its processes run on nodes that are ours."""

    def node(self, process: str) -> Node:
        """Return the node that runs a process; what is done to it is in the lab's undo list."""
        ...


def _freezing(attempt: Callable[[], None]) -> None:
    """Freeze, again and again for 10 s: runc gives up at once where a process forks meanwhile.

    (A control group of version 1; its "unable to freeze" leaves all running. Seen on a machine
    whose cores were all busy.)
    """
    tenacity.Retrying(
        retry=tenacity.retry_if_exception_message(match=".*unable to freeze"),
        stop=tenacity.stop_after_delay(_PATIENCE),
        wait=tenacity.wait_fixed(_STEP),
        reraise=True,
    )(attempt)


def _task(container_id: str) -> str:
    """Return containerd's task of a container as Kubernetes names it (`containerd://..`)."""
    return container_id.removeprefix("containerd://")
