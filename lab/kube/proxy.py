"""The way to an API server: straight, or through a proxy; for API calls and streams alike.

What the environment says is read as kubectl reads it (golang.org/x/net/http/httpproxy), which
Python's libraries do not, each in its own manner. Whatever the proxy, we ask it for a connection
(CONNECT, or SOCKS 5) and for nothing else: a request is not seen by it.
"""

import ipaddress
import os
import socket
import struct
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from urllib.parse import SplitResult, unquote, urlsplit

from common.errors import UserError

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
_SOCKS_REASONS = (
    "general failure", "not allowed by its rules", "network unreachable", "host unreachable",
    "connection refused", "TTL expired", "command not supported", "address type not supported",
)  # fmt: skip


@dataclass(frozen=True)
class Proxy:
    """A proxy; `source` is what names it: a variable, or the kubeconfig."""

    scheme: str
    host: str
    port: int
    source: str
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{_joined(self.host, self.port)} (from {self.source})"


class ProxyRefused(OSError):
    """The proxy answered, and did not let us through; to ask again is of no use."""


def choose(server: str, proxy_url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy to an API server (its URL), None for none.

    The kubeconfig's `proxy-url` counts always. The environment's does not for this machine itself,
    nor for what NO_PROXY lists. Raises UserError, without the URL: it may hold a password.
    """
    if proxy_url:
        return _parsed(proxy_url, "proxy-url in the kubeconfig")
    parts = urlsplit(server)
    name = f"{parts.scheme}_proxy"
    for variable in (name.upper(), name):
        if value := environ.get(variable):
            listed = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
            return None if _goes_straight(parts, listed) else _parsed(value, variable)
    return None


def _parsed(url: str, source: str) -> Proxy:
    escaped = "Escape what is special in its user or password, such as %2F for /, %23 for #."
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise UserError(f"The proxy of {source} cannot be read.", escaped) from None
    if not parts.hostname or "@" in parts.path + parts.query + parts.fragment:
        raise UserError(f"The proxy of {source} cannot be read.", escaped)
    if parts.scheme not in _PORTS or parts.scheme == "https":
        raise UserError(
            f"The proxy of {source} is one for {parts.scheme}://, which cannot be used.",
            "Give one for http:// or socks5://; what goes through it is encrypted all the same.",
        )
    return Proxy(
        scheme=parts.scheme.removesuffix("h"),
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        source=source,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _goes_straight(server: SplitResult, no_proxy: str) -> bool:
    host, port = (server.hostname or "").rstrip("."), server.port or _PORTS[server.scheme]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(each.strip().lower(), host, address, port) for each in no_proxy.split(","))


def _matches(
    entry: str,
    host: str,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    port: int,
) -> bool:
    """Tell whether an entry of NO_PROXY is about a host: a name, an address, a network, or all."""
    if "/" in entry:
        return _is_in(address, entry)
    name, entry_port = _split_port(entry)
    if not name or (entry_port and entry_port != str(port)):
        return False
    if name == "*":
        return True
    if address is not None:
        return _is_in(address, name)
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else f".{host}".endswith(f".{name}")


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, network: str) -> bool:
    try:
        return address is not None and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str]:
    """Split `name:port`; an IPv6 address has brackets where it has a port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    return name, port


def connect(host: str, port: int, proxy: Proxy | None, timeout: float | None) -> socket.socket:
    """Return a new connection to a server, whose operations take at most `timeout` seconds each.

    Its peer's silent death is noticed by TCP keepalive, in one to two minutes. Raises OSError, with
    the address in its text; ProxyRefused when the proxy says no.
    """
    there = (proxy.host, proxy.port) if proxy else (host, port)
    try:
        sock = socket.create_connection(there, timeout)
    except OSError as error:
        whose = f"the proxy {proxy}" if proxy else _joined(host, port)
        raise OSError(f"{whose}: {error.strerror or error}") from error
    try:
        _keep_alive(sock)
        if proxy is not None:
            ask = _socks5 if proxy.scheme == "socks5" else _ask
            ask(sock, host, port, proxy)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _ask(sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Ask an HTTP proxy for a connection to the server."""
    there = _joined(host, port)
    lines = [f"CONNECT {there} HTTP/1.1", f"Host: {there}"]
    if proxy.user or proxy.password:
        login = b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    sock.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
    answer = HTTPResponse(sock, method="CONNECT")
    try:
        answer.begin()
    except (HTTPException, ValueError) as error:
        raise ProxyRefused(f"the proxy {proxy} does not answer as an HTTP proxy does") from error
    finally:
        answer.close()
    if answer.status != 200:
        raise ProxyRefused(f"the proxy {proxy} answers {answer.status} {answer.reason}")


def _socks5(sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Ask a SOCKS proxy (RFC 1928, 1929) for a connection; it looks the server's name up."""
    user, password = proxy.user.encode()[:255], proxy.password.encode()[:255]
    sock.sendall(b"\x05\x02\x00\x02" if user else b"\x05\x01\x00")
    version, method = _exactly(sock, 2, proxy)
    if version == 5 and method == 2:
        login = bytes([1, len(user)]) + user + bytes([len(password)]) + password
        sock.sendall(login)
        method = _exactly(sock, 2, proxy)[1]
    if version != 5 or method != 0:
        raise ProxyRefused(f"the proxy {proxy} does not accept the login")
    name = host.encode("idna" if not host.isascii() else "ascii")
    sock.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", port))
    _, failure, _, kind = _exactly(sock, 4, proxy)
    if failure:
        known = failure <= len(_SOCKS_REASONS)
        reason = _SOCKS_REASONS[failure - 1] if known else f"error {failure}"
        raise ProxyRefused(f"the proxy {proxy} answers: {reason}")
    length = {1: 4, 4: 16}.get(kind) or _exactly(sock, 1, proxy)[0]
    _exactly(sock, length + 2, proxy)


def _exactly(sock: socket.socket, count: int, proxy: Proxy) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := sock.recv(count - len(data))):
            raise ProxyRefused(f"the proxy {proxy} ended the connection")
        data += more
    return data


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
