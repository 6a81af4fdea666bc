"""The official Kubernetes client for a context of any kubeconfig, and the bare connections that
streams (port-forward, exec, logs) need.

`kubernetes.stream` replaces a method of the client it is given for as long as a call lasts, which
other threads using that client notice. So streams here are connections of their own. Both take the
same way (`Access`): through the same proxy or none, with the same TLS, as the same user. Of the
official package only the API and its models are used, not how it reads kubeconfigs: it forgets a
plugin that fails, a token's file after the first look, and a proxy's login.
"""

import logging
import socket
import ssl
import tempfile
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import kubernetes
import urllib3
import urllib3.connection
import urllib3.exceptions
from urllib3 import HTTPHeaderDict

from common.errors import UserError
from common.redaction import redact
from lab.kube.credentials import credentials_of
from lab.kube.identity import Identity, pem
from lab.kube.kubeconfig import Context, Kubeconfig, User, read_context
from lab.kube.proxy import ProxyRefused, choose, connect

log = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443}
_UNAUTHORIZED = 401


class Access:
    """How one context's API server is reached, and as whom; for any number of threads.

    `server` is its URL without a slash at the end. Raises UserError when a part of the kubeconfig
    cannot be used; a plugin has run once then.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.server = _server(context)
        parts = urlsplit(self.server)
        self.host = parts.hostname or ""
        self.port = parts.port or _PORTS[parts.scheme]
        self.prefix = parts.path
        self.authority = parts.netloc.rpartition("@")[2]
        self.name = context.cluster.tls_server_name or self.host
        self.proxy = choose(self.server, context.cluster.proxy_url)
        self.tls = _tls_context(context) if parts.scheme == "https" else None
        self._acting_as = _impersonation(context.user)
        self._credentials = credentials_of(context)
        self._certificate = ""
        self.identity()

    def identity(self) -> Identity:
        """Return who we are now, read again once it has expired.

        Connections made from now on bear its certificate.
        """
        found = self._credentials.now()
        if self.tls is not None and found.certificate not in ("", self._certificate):
            known, self._certificate = self._certificate, found.certificate
            try:
                _load_certificate(self.tls, found.certificate, self._context.name)
            except UserError as error:
                if not known:
                    raise
                log.warning("%s", error)
        return found

    def renew(self, refused: Identity) -> bool:
        """Read the credentials again, once the server refused them; tell whether they are new."""
        return self._credentials.renew(refused)

    @property
    def trouble(self) -> str:
        """Why the credentials could not be read again; empty when they could."""
        return self._credentials.trouble

    def headers(self, identity: Identity) -> list[tuple[str, str]]:
        """Return what names us to the server, and whom we act as."""
        login = [("Authorization", identity.authorization)] if identity.authorization else []
        return [*login, *self._acting_as]

    def dial(self, timeout: float | None) -> socket.socket:
        """Return a new connection to the server, before any TLS. Raises OSError."""
        return connect(self.host, self.port, self.proxy, timeout)

    def connect(self, timeout: float) -> HTTPConnection:
        """Return a new connection, outside of the client's pool; operations take `timeout` seconds.

        Whoever takes one owns its socket, and so can end a read from another thread; urllib3 lends
        its sockets to nobody. Its peer's silent death is noticed by TCP keepalive, in one to two
        minutes. Raises OSError.
        """
        connection = HTTPConnection(self.host, self.port, timeout=timeout)
        connection.auto_open = 0  # one that it opened by itself would have no TLS
        sock = self.dial(timeout)
        if self.tls is not None:
            try:
                sock = self.tls.wrap_socket(sock, server_hostname=self.name)
            except OSError:
                sock.close()
                raise
        connection.sock = sock
        return connection


def api_client(kubeconfig: Path | Kubeconfig) -> Any:
    """Return a `kubernetes.client.ApiClient` that touches no global configuration.

    `kubeconfig` is a file, or what `single_context` returned; UserError when it cannot be used.
    """
    access = Access(read_context(kubeconfig))
    configuration = kubernetes.client.Configuration()
    configuration.host = access.server
    configuration.proxy = None  # what is in its place is in `access`
    client = kubernetes.client.ApiClient(configuration)
    client.rest_client.pool_manager = _Pools(access, configuration.connection_pool_maxsize)
    return client


def access_of(client: Any) -> Access:
    """Return the way that a client of `api_client` takes, for streams beside it."""
    access: Access = client.rest_client.pool_manager.access
    return access


class _Dialled:
    """A connection of urllib3 whose socket somebody else makes."""

    def __init__(self, *args: Any, dial: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dial = dial
        self.timeout: float | None

    def _new_conn(self) -> socket.socket:
        try:
            return self._dial(self.timeout)  # type: ignore[no-any-return]
        except ProxyRefused as error:
            raise urllib3.exceptions.HTTPError(str(error)) from error  # which is not tried again
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]


class _Plain(_Dialled, urllib3.connection.HTTPConnection):
    pass


class _Secure(_Dialled, urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.is_verified = True  # else each request warns, of what the kubeconfig says


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Pools(urllib3.PoolManager):
    """The official client's connections. A request that is refused for its credentials is made
    once more with new ones, if there are any."""

    def __init__(self, access: Access, most: int) -> None:
        super().__init__(
            maxsize=most,
            ssl_context=access.tls,
            server_hostname=access.name,
            cert_reqs=access.tls.verify_mode if access.tls else None,
        )
        self.access = access
        self.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def _new_pool(self, *args: Any, **options: Any) -> urllib3.HTTPConnectionPool:
        pool = super()._new_pool(*args, **options)
        pool.conn_kw["dial"] = self.access.dial
        return pool

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Make a request as who we are now; a page that we are led to gets no credentials."""
        del redirect
        given = options.pop("headers", None) or {}
        identity = self.access.identity()
        headers = self._headers(given, identity)
        response = super().urlopen(method, url, redirect=False, headers=headers, **options)
        if response.status != _UNAUTHORIZED:
            return response
        if self.access.renew(identity):
            response.drain_conn()
            self.clear()  # connections may bear the certificate that was refused
            headers = self._headers(given, self.access.identity())
            response = super().urlopen(method, url, redirect=False, headers=headers, **options)
        if response.status == _UNAUTHORIZED and self.access.trouble:
            response.reason = f"{response.reason}; {self.access.trouble}"
        return response

    def _headers(self, given: Iterable[Any], identity: Identity) -> HTTPHeaderDict:
        headers = HTTPHeaderDict(given)
        for name, value in self.access.headers(identity):
            headers.add(name, value)
        return headers


def end_reads(sock: socket.socket) -> None:
    """Have whoever reads from a socket, in another thread, find its end.

    An SSLSocket's own shutdown would pull the TLS state from under that thread.
    """
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError as error:
        log.debug("The connection had ended: %s", error)


def _server(context: Context) -> str:
    server = context.cluster.server.rstrip("/")
    parts = urlsplit(server if "://" in server else f"https://{server}")
    try:
        if parts.scheme in _PORTS and parts.hostname and parts.port != 0:
            return parts.geturl()
    except ValueError as error:
        log.debug("Not a URL: %s", error)
    raise UserError(
        f"The kubeconfig's cluster of context {context.name} has no valid server: "
        f"{redact(server) or 'none is given'}.",
        "It takes `server: https://HOST:PORT`.",
    )


def _tls_context(context: Context) -> ssl.SSLContext:
    cluster = context.cluster
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cluster.insecure_skip_tls_verify:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    elif cluster.certificate_authority or cluster.certificate_authority_data:
        name = "certificate-authority"
        authority = pem(cluster.certificate_authority_data, cluster.certificate_authority, name)
        try:
            tls.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError) as error:
            raise UserError(
                f"The kubeconfig's {name} of context {context.name} is not a certificate in PEM.",
                "Take the cluster's own.",
            ) from error
    else:
        tls.load_default_certs()
    return tls


def _load_certificate(tls: ssl.SSLContext, certificate: str, name: str) -> None:
    """Load a certificate with its key: ssl takes a file's only, which is gone at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate)
        file.flush()
        try:
            tls.load_cert_chain(file.name, password="")
        except (ssl.SSLError, ValueError) as error:
            raise UserError(
                f"The client certificate of context {name} cannot be used with its key.",
                "Log in again, as for kubectl; a key with a passphrase cannot be used.",
            ) from error


def _impersonation(user: User) -> list[tuple[str, str]]:
    if not user.as_user:
        if user.as_groups or user.as_uid or user.as_user_extra:
            raise UserError(
                "The kubeconfig's user has as-groups, as-uid or as-user-extra without `as`.",
                "Say as whom.",
            )
        return []
    return [
        ("Impersonate-User", user.as_user),
        *([("Impersonate-Uid", user.as_uid)] if user.as_uid else []),
        *(("Impersonate-Group", group) for group in user.as_groups),
        *(
            (f"Impersonate-Extra-{quote(key.lower(), safe='')}", value)
            for key, values in user.as_user_extra.items()
            for value in values
        ),
    ]
