"""A link to a server that a test cuts, resets or lets fall silent."""

import contextlib
import select
import socket
import struct
import threading
from typing import Self

_RESET = struct.pack("ii", 1, 0)


class Cable:
    """A port that leads to another, while the block lasts."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._silent = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for each in (self._listener, *(side for pair in self._pairs for side in pair)):
            each.close()

    def fall_silent(self) -> None:
        """Take what comes and pass nothing on, as a tunnel does whose other end is gone."""
        self._silent.set()

    def mend(self) -> None:
        """Pass on what comes from now on."""
        self._silent.clear()

    def reset(self) -> None:
        """End every connection with an RST, as a firewall does."""
        for client, _ in self._pairs:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()

    def _carry(self) -> None:
        while not self._over.is_set():
            self._pairs = [pair for pair in self._pairs if min(s.fileno() for s in pair) >= 0]
            others = {a: b for pair in self._pairs for a, b in (pair, pair[::-1])}
            for ready in select.select([self._listener, *others], [], [], 0.02)[0]:
                if ready is self._listener:
                    there = socket.create_connection(("127.0.0.1", self._to))
                    self._pairs.append((self._listener.accept()[0], there))
                else:
                    self._pass_on(ready, others[ready])

    def _pass_on(self, ready: socket.socket, other: socket.socket) -> None:
        try:
            data = ready.recv(65536)
            if data and not self._silent.is_set():
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            ready.close()
            other.close()
