"""Kubernetes' channel protocol: numbered byte streams in one websocket.

Port-forward and exec speak it (subprotocol v4.channel.k8s.io): each message is a channel's number
and bytes of that channel. Only what this needs of RFC 6455 is here, without blocking: one thread
can wait for a channel and a local socket at once, which TLS sockets do not bear from two threads,
and holds no more than it can pass on.
"""

import base64
import json
import logging
import os
import ssl
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from urllib.parse import urlencode

from lab.kube.client import Dialer

log = logging.getLogger(__name__)

_SUBPROTOCOL = "v4.channel.k8s.io"
_CONTINUATION, _CLOSE, _PING, _PONG, _BINARY = 0x0, 0x8, 0x9, 0xA, 0x2
_CHUNK = 65536


class Refused(OSError):
    """The API server did not open the stream: `status` is HTTP's, the text is its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status


class Channels:
    """One open websocket; not for use by several threads.

    `unsent` is what waits to be written: who queues more while it is not empty gives up the
    backpressure. After `ended`, nothing more comes; `broken` if the server did not say so, and what
    came may be but a part. `heard` is when anything last came, pongs too,
    on the monotonic clock.
    """

    def __init__(self, connection: HTTPConnection, rest: bytes = b"") -> None:
        self._connection = connection
        self._sock = connection.sock
        self._sock.setblocking(False)
        self._incoming = bytearray(rest)
        self._unread = bool(rest)
        self._channel: int | None = None
        self.unsent = bytearray()
        self.ended = self.broken = False
        self.heard = time.monotonic()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return int(self._sock.fileno())

    def has_more(self) -> bool:
        """Return whether there is something to read that waiting for the socket would not show."""
        return self._unread or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)

    def write(self, channel: int, data: bytes) -> None:
        """Queue data for a channel; `flush` sends it."""
        self._queue(_BINARY, bytes([channel]) + data)

    def ping(self) -> None:
        """Queue a ping, so that nothing between takes the connection for a dead one."""
        self._queue(_PING, b"")

    def flush(self) -> None:
        """Send what can be sent now. Raises OSError."""
        while self.unsent:
            try:
                sent = self._sock.send(self.unsent)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            del self.unsent[:sent]

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield what has come, about 64 KiB at most, as (channel, data). Raises OSError."""
        self._unread = False
        try:
            data = self._sock.recv(_CHUNK)
            self.ended = self.broken = not data
            self._incoming += data
            self.heard = time.monotonic()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        while (frame := self._take_frame()) is not None:
            opcode, payload = frame
            if opcode == _CLOSE:
                self.ended, self.broken = True, False
            elif opcode == _PING:
                self._queue(_PONG, payload)
            elif opcode != _PONG and (message := self._message(opcode, payload)):
                yield message

    def _message(self, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        if opcode != _CONTINUATION:
            self._channel, payload = (payload[0] if payload else None), payload[1:]
        if self._channel is None or not payload:
            return None
        return self._channel, payload

    def _take_frame(self) -> tuple[int, bytes] | None:
        """Take one whole frame from what has come (RFC 6455, 5.2; a server does not mask)."""
        have = self._incoming
        if len(have) < 2:
            return None
        length, start = have[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(have) < start:
                return None
            length = int.from_bytes(have[2:start], "big")
        if len(have) < start + length:
            return None
        payload = bytes(have[start : start + length])
        opcode = have[0] & 0x0F
        del have[: start + length]
        return opcode, payload

    def _queue(self, opcode: int, payload: bytes) -> None:
        """Queue a frame, masked with zeroes.

        Masks protect careless HTTP proxies from what a web page makes a browser send (RFC 6455,
        10.3); here nobody reads between, and a mask would cost most of the time of a large COPY.
        """
        length = len(payload)
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 65536:
            size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
        else:
            size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
        self.unsent += bytes([0x80 | opcode]) + size + bytes(4) + payload

    def close(self) -> None:
        """Close the connection, without ceremony."""
        self._connection.close()


def open_channels(
    dialer: Dialer, path: str, query: Sequence[tuple[str, str]], timeout: float = 10.0
) -> Channels:
    """Open a stream of the Kubernetes API; `path` begins with /api.

    Raises Refused when the server says no, OSError when it cannot be reached.
    """
    connection = dialer.connect(timeout)
    try:
        connection.sock.sendall(_request(dialer, path, query))
        head, rest = _read_head(connection)
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            raise Refused(status, _reason(rest or head))
        return Channels(connection, rest)
    except (IndexError, ValueError) as error:
        connection.close()
        raise OSError("the Kubernetes API's answer is not HTTP") from error
    except OSError:
        connection.close()
        raise


def _request(dialer: Dialer, path: str, query: Sequence[tuple[str, str]]) -> bytes:
    headers = {
        "Host": dialer.authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": _SUBPROTOCOL,
        **dialer.headers(),
    }
    lines = [f"GET {dialer.prefix}{path}?{urlencode(query)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _read_head(connection: HTTPConnection) -> tuple[bytes, bytes]:
    have = b""
    while b"\r\n\r\n" not in have:
        data = connection.sock.recv(_CHUNK)
        if not data or len(have) > _CHUNK:
            raise OSError("the Kubernetes API ended the connection")
        have += data
    head, _, rest = have.partition(b"\r\n\r\n")
    return head, rest


def _reason(body: bytes) -> str:
    """Return the message of a Kubernetes Status, else the answer's first words."""
    text = body.decode(errors="replace")
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        log.debug("Not a Status: %s", text)
    return " ".join(text.split())[:300]
