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
from contextlib import closing
from typing import Any

import kubernetes
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from common.errors import UserError
from common.waiting import Deadline
from lab.kube.channels import ChannelRefused, Channels, open_channels
from lab.kube.client import access_of, end_reads
from lab.kube.failures import explained
from lab.kube.pods import is_ready, list_pods, runs

log = logging.getLogger(__name__)

_REMEMBER = 1.0
_RESET = struct.pack("ii", 1, 0)
_CHUNK = 65536
_PING_EVERY = 20.0
_SILENCE = 180.0
_LINGER = 2.0
_DATA, _ERROR = 0, 1
_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


class _ClientGone(OSError):
    """Who had connected here has gone, which is no fault of the way to the pod."""


class PortForward:
    """Forwards `127.0.0.1:local_port` to `remote_port` of a pod that `list_pods` finds.

    A connection that finds no running pod, or whose pod dies, is closed at once, so that its
    owner can try again; the listener goes on until `stop`.
    """

    def __init__(self, client: Any, namespace: str, selector: str, remote_port: int) -> None:
        self._pods = _Pods(client, namespace, selector)
        self._access = access_of(client)
        self._namespace = namespace
        self._remote_port = remote_port
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="port-forward", daemon=True)
        self.local_port = 0
        self.failure = ""
        """Why the last connection ended, and what to do about it; empty while all is well."""

    def start(self) -> int:
        """Listen and return the local port, any that is free."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
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
        deadline = Deadline(5)
        for thread in connections.values():
            thread.join(deadline.left)

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
        """Carry one connection to its end; whatever happens to it ends no other."""
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with closing(self._open()) as channels:
                self.failure = ""
                client.setblocking(False)
                Pump(client, channels).run()
        except (OSError, UserError, ApiException, urllib3.exceptions.HTTPError) as error:
            self._log(error)
            self._pods.forget()
            _reset(client)
        finally:
            with self._lock:
                del self._connections[client]
            client.close()

    def _log(self, error: Exception) -> None:
        """Log why a connection ended, once while it is the same: callers try again and again."""
        words = str(explained(error, f"A connection to port {self._remote_port} ended"))
        again = words == self.failure
        if not isinstance(error, _ClientGone):
            self.failure = words
        if not again and not self._stopping.is_set():
            log.info("%s", words)

    def _open(self) -> Channels:
        """Open the way to a pod; a pod that has just gone is not asked twice."""
        try:
            return self._open_to(self._pods.pick())
        except ChannelRefused:
            self._pods.forget()
            return self._open_to(self._pods.pick())

    def _open_to(self, pod: str) -> Channels:
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}/portforward"
        return open_channels(self._access, path, [("ports", str(self._remote_port))])


class _Pods:
    """Knows the pods of a selector; asks at most about once a second while all goes well."""

    def __init__(self, client: Any, namespace: str, selector: str) -> None:
        self._core = kubernetes.client.CoreV1Api(client)
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
        found = list_pods(self._core, self._namespace, self._selector)
        live = [pod for pod in found if runs(pod)]
        ready = [pod for pod in live if is_ready(pod)]
        return [pod.metadata.name for pod in ready or live]


def _reset(client: socket.socket) -> None:
    """Have the close that follows tell the peer that this was no orderly end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Pump:
    """Passes bytes between a local socket and a pod until either ends.

    The protocol cannot say "I have no more to send": when the client ends its half, the pod's
    answer is passed on until it has been silent for two seconds, then all is closed.
    """

    def __init__(self, client: socket.socket, channels: Channels) -> None:
        self._client = client
        self._channels = channels
        self._to_client = bytearray()
        self._headers = {_DATA: 2, _ERROR: 2}
        self._client_ended = False
        self._error = ""
        self._answered = self._passed_on = self._pinged = time.monotonic()

    def run(self) -> None:
        """Pump until the end; OSError when it is not an orderly one."""
        while not self._is_over():
            of_client, of_channels = self._poll()
            self._keep_alive()
            if of_client & _BROKEN:
                raise _ClientGone("the client has gone")
            if not self._to_client or of_channels & _BROKEN:
                self._from_pod()
            if of_client & select.POLLIN:
                self._from_client()
            self._deliver()
            self._pass_on()
        if self._error or self._channels.broken:
            raise OSError(self._error or "the connection to the cluster broke off")

    def _poll(self) -> tuple[int, int]:
        """Wait until something can be done; return what is the matter with either side."""
        poll = select.poll()
        poll.register(self._client, self._client_events())
        if not self._channels.ended:
            poll.register(self._channels, self._channel_events())
        events = dict(poll.poll(self._wait() * 1000))
        return events.get(self._client.fileno(), 0), events.get(self._channels.fileno(), 0)

    def _is_over(self) -> bool:
        if self._channels.ended or self._error:
            return not self._to_client
        if self._channels.unsent or not self._client_ended:
            return False
        return time.monotonic() - max(self._answered, self._passed_on) > _LINGER

    def _client_events(self) -> int:
        reading = not (self._client_ended or self._channels.unsent or self._channels.ended)
        return (select.POLLIN if reading else 0) | (select.POLLOUT if self._to_client else 0)

    def _channel_events(self) -> int:
        reading, writing = not self._to_client, bool(self._channels.unsent)
        return (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0)

    def _wait(self) -> float:
        if self._channels.has_more() and not self._to_client:
            return 0.0
        return _LINGER if self._client_ended else _PING_EVERY

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if not self._to_client and now - self._channels.heard > _SILENCE:
            raise OSError(f"nothing was heard from the API server for {_SILENCE:.0f} s")
        if now - self._pinged > _PING_EVERY and not self._channels.unsent:
            self._channels.ping()
            self._pinged = now

    def _from_client(self) -> None:
        data = self._client.recv(_CHUNK)
        if data:
            self._channels.write(_DATA, data)
        else:
            self._client_ended = True
            self._passed_on = time.monotonic()

    def _from_pod(self) -> None:
        """Take what the pod sent, less the port number with which each channel begins."""
        for channel, data in self._channels.read():
            self._answered = time.monotonic()
            header = self._headers.get(channel, 0)
            self._headers[channel] = max(0, header - len(data))
            if channel == _DATA:
                self._to_client += data[header:]
            elif channel == _ERROR:
                self._error += data[header:].decode(errors="replace")

    def _pass_on(self) -> None:
        if self._channels.unsent:
            self._channels.flush()
            self._passed_on = time.monotonic()

    def _deliver(self) -> None:
        if self._to_client:
            try:
                sent = self._client.send(self._to_client)
            except BlockingIOError:
                return
            del self._to_client[:sent]
