"""A local port that leads into a cluster, to whichever pod serves there now.

    client ---- 127.0.0.1:local ---- [one websocket a connection] ---- API server ---- pod:remote

As with a Service, a pod is chosen when a connection is made; one that is replaced ends its
connections, and the next finds its successor. A thread a connection passes bytes both ways and
takes no more from either side than the other accepts.

That the pod's side has ended is seen about a second late: containerd waits that long for the other
half. A client that reuses an idle connection may meet one that its server has just closed.
"""

import logging
import random
import select
import socket
import struct
import threading
import time
from typing import Any

import urllib3.exceptions
from kubernetes.client import ApiException, CoreV1Api

from common.errors import UserError
from lab.kube.channels import Channels, Refused, open_channels
from lab.kube.client import Dialer, end_reads
from lab.kube.pump import Pump

log = logging.getLogger(__name__)

_REMEMBER = 1.0
_RESET = struct.pack("ii", 1, 0)


class PortForward:
    """Forwards `127.0.0.1:local_port` to `remote_port` of a pod that the label selector matches.

    A connection that finds no running pod, or whose pod dies, is closed at once, so that its
    owner can try again; the listener goes on until `stop`.
    """

    def __init__(
        self, client: Any, namespace: str, selector: str, remote_port: int, local_port: int = 0
    ) -> None:
        self._pods = _Pods(client, namespace, selector)
        self._dialer = Dialer(client)
        self._namespace = namespace
        self._remote_port = remote_port
        self._wanted_port = local_port
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="port-forward", daemon=True)
        self._told = ""
        self.local_port = 0

    def start(self) -> int:
        """Listen and return the local port; UserError when it is taken."""
        try:
            self._listener = socket.create_server(("127.0.0.1", self._wanted_port), backlog=128)
        except OSError as error:
            raise UserError(
                f"Port {self._wanted_port} cannot be listened on: {error.strerror}."
            ) from error
        self._listener.setblocking(False)
        self.local_port = int(self._listener.getsockname()[1])
        self._thread.start()
        return self.local_port

    def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._waker.close()
        if self._listener is not None:
            self._thread.join()
            self._listener.close()
        self._wake.close()
        with self._lock:
            connections = dict(self._connections)
            for client in connections:
                end_reads(client)
        deadline = time.monotonic() + 5
        for thread in connections.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        assert self._listener is not None
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._stopping.is_set():
            poll.poll()
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                log.warning("A connection could not be taken: %s", error)
                self._stopping.wait(0.1)
                continue
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._connections[client] = thread
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """Carry one connection to its end; whatever happens to it is told to nobody else."""
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channels = self._open()
            try:
                client.setblocking(False)
                Pump(client, channels).run()
            finally:
                channels.close()
        except (OSError, UserError, ApiException, urllib3.exceptions.HTTPError) as error:
            self._tell(error)
            self._pods.forget()
            _reset(client)
        finally:
            with self._lock:
                del self._connections[client]
            client.close()

    def _tell(self, error: Exception) -> None:
        """Log why a connection ended, once while it is the same: callers try again and again."""
        words = " ".join(str(error).split())[-200:]
        again, self._told = words == self._told, words
        if not again and not self._stopping.is_set():
            log.info("A connection to port %d ended: %s", self._remote_port, words)

    def _open(self) -> Channels:
        """Open the way to a pod; a pod that has just gone is not asked twice."""
        try:
            return self._open_to(self._pods.pick())
        except Refused:
            self._pods.forget()
            return self._open_to(self._pods.pick())

    def _open_to(self, pod: str) -> Channels:
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}/portforward"
        return open_channels(self._dialer, path, [("ports", str(self._remote_port))])


class _Pods:
    """Knows the pods of a selector; asks at most about once a second while all goes well."""

    def __init__(self, client: Any, namespace: str, selector: str) -> None:
        self._core = CoreV1Api(client)
        self._namespace = namespace
        self._selector = selector
        self._lock = threading.Lock()
        self._known: list[str] = []
        self._until = 0.0

    def pick(self) -> str:
        """Return a ready pod's name, else a running one's. Raises UserError when there is none."""
        with self._lock:
            if time.monotonic() >= self._until or not self._known:
                self._known = self._ask()
                self._until = time.monotonic() + _REMEMBER
            if not self._known:
                raise UserError(f"no running pod matches {self._selector}")
            return random.choice(self._known)

    def forget(self) -> None:
        """Ask again at the next connection: one has ended, perhaps with its pod."""
        self._until = 0.0

    def _ask(self) -> list[str]:
        pods = self._core.list_namespaced_pod(
            self._namespace, label_selector=self._selector, _request_timeout=10
        ).items
        live = [
            pod
            for pod in pods
            if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None
        ]
        ready = [pod for pod in live if _is_ready(pod)]
        return [pod.metadata.name for pod in ready or live]


def _is_ready(pod: Any) -> bool:
    return any(
        each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ()
    )


def _reset(client: socket.socket) -> None:
    """Have the close that follows tell the peer that this was no orderly end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
