"""The official Kubernetes client for a context of any kubeconfig, and the bare connections that
streams (port-forward, exec, logs) need.

`kubernetes.stream` replaces a method of the client it is given for as long as a call lasts, which
other threads using that client notice. So streams here are connections of their own, made from the
client's configuration, and one client serves any number of threads.
"""

import ipaddress
import logging
import os
import socket
import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes
import yaml

from common.errors import UserError
from common.paths import path_of

log = logging.getLogger(__name__)

Kubeconfig = dict[str, Any]
"""What a kubeconfig holds."""

_FILES = frozenset({"certificate-authority", "client-certificate", "client-key", "tokenFile"})
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


def default_kubeconfig() -> str:
    """Return where kubectl would look: KUBECONFIG (a list of paths), else ~/.kube/config."""
    return os.environ.get("KUBECONFIG") or str(path_of("~/.kube/config"))


def single_context(kubeconfig: str, context: str | None) -> Kubeconfig:
    """Return a kubeconfig of one context alone, its own current one where `context` is None.

    `kubeconfig` may be a list of paths, as KUBECONFIG is; the first that names a thing counts.
    Paths inside are made absolute. Raises UserError when a part is missing.
    """
    files = [path_of(each) for each in kubeconfig.split(os.pathsep) if each]
    read = [(path, _read(path)) for path in files if path.exists()]
    if not read:
        raise UserError(
            f"There is no kubeconfig at {kubeconfig}.", "Set KUBECONFIG, as for kubectl."
        )
    name = context or next((d["current-context"] for _, d in read if d.get("current-context")), "")
    if not name:
        raise UserError(f"{kubeconfig} has no current context.", "Name one with --context.")
    known = [each["name"] for _, data in read for each in data.get("contexts") or ()]
    if name not in known:
        raise UserError(
            f"{kubeconfig} has no context {name!r}.", f"It has: {', '.join(known) or 'none'}."
        )
    chosen = _named(read, "contexts", name)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [chosen],
        "clusters": [_named(read, "clusters", chosen["context"]["cluster"])],
        "users": [_named(read, "users", chosen["context"]["user"])],
    }


def _read(path: Path) -> Kubeconfig:
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"The kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} is not a valid kubeconfig.")
    return data


def _named(read: list[tuple[Path, Kubeconfig]], kind: str, name: str) -> dict[str, Any]:
    for path, data in read:
        for each in data.get(kind) or ():
            if each.get("name") == name:
                return {**each, kind[:-1]: _absolute(each[kind[:-1]], path.resolve().parent)}
    raise UserError(f"The kubeconfig {read[0][0]} has no entry {name!r} under {kind}.")


def _absolute(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    return {
        key: str(base / value) if key in _FILES and value else value for key, value in entry.items()
    }


def api_client(kubeconfig: Path | Kubeconfig) -> Any:
    """Return a `kubernetes.client.ApiClient` that touches no global configuration.

    `kubeconfig` is a file, or what `single_context` returned; UserError when it cannot be used.
    """
    configuration = kubernetes.client.Configuration()
    try:
        if isinstance(kubeconfig, Path):
            kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        else:
            kubernetes.config.load_kube_config_from_dict(
                kubeconfig, client_configuration=configuration
            )
    except (kubernetes.config.ConfigException, OSError) as error:
        name = kubeconfig if isinstance(kubeconfig, Path) else kubeconfig["current-context"]
        raise UserError(
            f"The kubeconfig {name} cannot be used: {str(error)[:300]}",
            "Name another, or one of its contexts.",
        ) from error
    if _is_loopback(urlsplit(configuration.host).hostname or ""):
        configuration.proxy = None
    return kubernetes.client.ApiClient(configuration)


def end_reads(sock: socket.socket) -> None:
    """Have whoever reads from a socket, in another thread, find its end.

    An SSLSocket's own shutdown would pull the TLS state from under that thread.
    """
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError as error:
        log.debug("The connection had ended: %s", error)


class Dialer:
    """Makes connections to the API server outside of the client's pool.

    Whoever takes one owns its socket, and so can end a read from another thread; urllib3 lends
    its sockets to nobody. The TLS context is made once: it reads three files.
    """

    def __init__(self, client: Any) -> None:
        self._configuration = client.configuration
        parts = urlsplit(self._configuration.host)
        self._tls = _tls_context(self._configuration) if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc

    def headers(self) -> dict[str, str]:
        """Return what names us to the server; a token that has expired is renewed."""
        settings = self._configuration.auth_settings().values()
        return {each["key"]: each["value"] for each in settings if each["in"] == "header"}

    def connect(self, timeout: float) -> HTTPConnection:
        """Return a new connection, whose operations take at most `timeout` seconds each.

        Its peer's silent death is noticed by TCP keepalive, in one to two minutes. Raises OSError.
        """
        connection = self._connection(timeout)
        connection.connect()
        sock = connection.sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return connection

    def _connection(self, timeout: float) -> HTTPConnection:
        proxy = urlsplit(self._configuration.proxy or "")
        host, port = (proxy.hostname or self._host), (proxy.port or self._port)
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=timeout)
        name = self._configuration.tls_server_name or self._host
        connection = _Renamed(host, port, name, timeout=timeout, context=self._tls)
        if proxy.hostname:
            connection.set_tunnel(self._host, self._port)
        return connection


class _Renamed(HTTPSConnection):
    """A connection to a server whose certificate may have another name than its address."""

    def __init__(self, host: str, port: int, name: str, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._name = name
        self._tls: ssl.SSLContext = options["context"]

    def connect(self) -> None:
        HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _tls_context(configuration: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    else:
        context.load_default_certs()
    if configuration.assert_hostname is False:
        context.check_hostname = False
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
