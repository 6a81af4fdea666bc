"""Kubernetes' channel protocol: numbered byte streams in one websocket.

Port-forward and exec speak it (subprotocol v4.channel.k8s.io): each message is a channel's number
and bytes of that channel. wsproto knows RFC 6455 and does no input or output: here that is done
without blocking, so one thread can wait for a channel and a local socket at once, which TLS sockets
do not bear from two threads, and holds no more than it can pass on. (The official client's own
streams block, and poll every tenth of a second to do both.)
"""

import json
import logging
import ssl
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from urllib.parse import urlencode

from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.utilities import ProtocolError

from lab.kube.client import Access
from lab.kube.identity import Identity

log = logging.getLogger(__name__)

_SUBPROTOCOL = "v4.channel.k8s.io"
_CHUNK = 65536
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


_UNAUTHORIZED = 401


class ChannelRefused(OSError):
    """The API server did not open the stream: `status` is HTTP's, `reason` its own words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class Channels:
    """One open websocket; not for use by several threads.

    `unsent` is what waits to be written: who queues more while it is not empty gives up the
    backpressure. After `ended`, nothing more comes; `broken` if the server did not say so, and what
    came may be but a part. `heard` is when anything last came, pongs too,
    on the monotonic clock.
    """

    def __init__(self, connection: HTTPConnection, websocket: Connection | WSConnection) -> None:
        self._connection = connection
        self._sock = connection.sock
        self._sock.setblocking(False)
        self._websocket = websocket
        self._unread = True
        self._channel: int | None = None
        self.unsent = bytearray()
        self.ended = self.broken = False
        self.heard = time.monotonic()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return int(self._sock.fileno())

    def has_more(self) -> bool:
        """Return whether there is something to read that waiting for the socket would not show.

        What came with the handshake, or what TLS has taken from the socket already.
        """
        return self._unread or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)

    def write(self, channel: int, data: bytes) -> None:
        """Queue data for a channel; `flush` sends it."""
        self._queue(BytesMessage(bytes([channel]) + data))

    def ping(self) -> None:
        """Queue a ping, so that nothing between takes the connection for a dead one."""
        self._queue(Ping())

    def _queue(self, event: Event) -> None:
        if not self.ended:
            self.unsent += self._websocket.send(event)

    def flush(self) -> None:
        """Send what can be sent now. Raises OSError."""
        while self.unsent:
            try:
                sent = self._sock.send(self.unsent)
            except _LATER:
                return
            del self.unsent[:sent]

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield what has come, about 64 KiB at most, as (channel, data). Raises OSError."""
        self._unread = False
        try:
            data = self._sock.recv(_CHUNK)
            self.ended = self.broken = not data
            self.heard = time.monotonic()
            self._websocket.receive_data(data or None)
        except _LATER:
            pass
        for event in self._websocket.events():
            if isinstance(event, Ping):
                self._queue(event.response())
            elif isinstance(event, CloseConnection):
                self.ended = True
                self.broken |= self._websocket.state is ConnectionState.OPEN  # no frame of theirs
            elif isinstance(event, BytesMessage) and (piece := self._piece(event)):
                yield piece

    def _piece(self, event: BytesMessage) -> tuple[int, bytes] | None:
        """Tell whose a piece of a message is: the channel's number stands before the first one."""
        data = bytes(event.data)
        if self._channel is None and data:
            self._channel, data = data[0], data[1:]
        channel = self._channel
        if event.message_finished:
            self._channel = None
        return None if channel is None or not data else (channel, data)

    def close(self) -> None:
        """Close the connection, without ceremony."""
        self._connection.close()


def open_channels(
    access: Access, path: str, query: Sequence[tuple[str, str]], timeout: float = 10.0
) -> Channels:
    """Open a stream of the Kubernetes API; `path` begins with /api.

    Raises ChannelRefused when the server says no, OSError when it cannot be reached. Credentials
    that it refuses are read again, once.
    """
    identity = access.identity()
    try:
        return _open(access, identity, path, query, timeout)
    except ChannelRefused as error:
        if error.status != _UNAUTHORIZED:
            raise
        if access.renew(identity):
            return _open(access, access.identity(), path, query, timeout)
        if access.trouble:
            raise ChannelRefused(error.status, f"{error.reason}; {access.trouble}") from error
        raise


def _open(
    access: Access, identity: Identity, path: str, query: Sequence[tuple[str, str]], timeout: float
) -> Channels:
    connection = access.connect(timeout)
    try:
        headers = access.headers(identity)
        target = f"{access.prefix}{path}?{urlencode(query)}"
        return Channels(connection, _shake_hands(connection, access.authority, target, headers))
    except ProtocolError as error:
        connection.close()
        raise OSError("the Kubernetes API's answer is not a websocket's") from error
    except OSError:
        connection.close()
        raise


def _shake_hands(
    connection: HTTPConnection, host: str, target: str, headers: Sequence[tuple[str, str]]
) -> WSConnection:
    websocket = WSConnection(ConnectionType.CLIENT)
    request = Request(
        host=host,
        target=target,
        subprotocols=[_SUBPROTOCOL],
        extra_headers=[(name.encode(), text.encode()) for name, text in headers],
    )
    connection.sock.sendall(websocket.send(request))
    status, body = 0, b""
    while websocket.state is not ConnectionState.CLOSED:
        data = connection.sock.recv(_CHUNK)
        if not data and not status:
            raise OSError("the Kubernetes API ended the connection")
        websocket.receive_data(data)
        for event in websocket.events():
            if isinstance(event, AcceptConnection):
                return websocket
            if isinstance(event, RejectConnection):
                status = event.status_code
            elif isinstance(event, RejectData):
                body += event.data
    raise ChannelRefused(status, _reason(body))


def _reason(body: bytes) -> str:
    """Return the message of a Kubernetes Status, else the answer's first words."""
    text = body.decode(errors="replace")
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        log.debug("Not a Status: %s", text)
    return " ".join(text.split())[:300]
