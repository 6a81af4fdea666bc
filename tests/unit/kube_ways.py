"""What stands between a client and an API server, for tests: proxies, and certificates."""

import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple


class TrialProxy:
    """A proxy that wants a login where it has one; `asked` is what it was asked to reach.

    All that it lets through leads to `to`, a port of this machine, whatever it was asked for: so a
    name that is nowhere can be one of a server here.
    """

    def __init__(self, to: int, login: str = "", *, socks: bool = False) -> None:
        self.asked: list[str] = []
        self.refused = 0
        self.answer = "200 Connection established"
        self._to = to
        self._login = login
        self._socks = socks
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._listen, daemon=True).start()

    def url(self, login: str = "") -> str:
        """Return its URL, with a login."""
        scheme = "socks5" if self._socks else "http"
        return f"{scheme}://{f'{login}@' if login else ''}127.0.0.1:{self.port}"

    def close(self) -> None:
        """Take nobody any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if not (self._let_in_socks(client) if self._socks else self._let_in(client)):
                return
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                _copy(client, server)

    def _let_in(self, client: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        lines = head.decode().split("\r\n")
        wanted = f"Proxy-Authorization: Basic {b64encode(self._login.encode()).decode()}"
        if self._login and wanted not in lines:
            self.refused += 1
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
            )
            return False
        self.asked.append(lines[0])
        client.sendall(f"HTTP/1.1 {self.answer}\r\n\r\n".encode())
        return self.answer.startswith("200")

    def _let_in_socks(self, client: socket.socket) -> bool:
        client.recv(2)
        if self._login:
            assert 2 in client.recv(8)
            client.sendall(b"\x05\x02")
            _, length = client.recv(2)
            user = client.recv(length)
            password = client.recv(client.recv(1)[0])
            accepted = b":".join((user, password)).decode() == self._login
            client.sendall(b"\x01\x00" if accepted else b"\x01\x01")
            if not accepted:
                return False
        else:
            client.recv(8)
            client.sendall(b"\x05\x00")
        client.recv(4)
        name = client.recv(client.recv(1)[0]).decode()
        self.asked.append(f"{name}:{int.from_bytes(client.recv(2), 'big')}")
        client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        return True


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@contextmanager
def proxy_to(port: int, login: str = "", *, socks: bool = False) -> Iterator[TrialProxy]:
    """Lend a proxy in front of a port of this machine."""
    proxy = TrialProxy(port, login, socks=socks)
    try:
        yield proxy
    finally:
        proxy.close()


class Signed(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority; `openssl` must be there."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.certificate,
            "-subj", f"/CN={name}", "-days", "2",
        )  # fmt: skip

    def sign(self, name: str, *alternatives: str, days: int = 2) -> Signed:
        """Sign a certificate; `alternatives` are such as `DNS:api.example.com`."""
        signed = Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, more = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        more.write_text(f"subjectAltName={','.join(alternatives)}\n" if alternatives else "")
        _openssl(
            "req", *_NEW_KEY, "-keyout", signed.key, "-out", request, "-subj", f"/CN={name}"
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
            "-CAcreateserial", "-out", signed.certificate, "-days", str(days), "-extfile", more,
        )  # fmt: skip
        return signed


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
