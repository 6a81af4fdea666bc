"""A context's credentials, kept fresh for as long as somebody looks on.

A token's file is read every minute, a plugin runs again when what it gave has expired, and whatever
the server refuses (401) is read once more: a token written into the user's own kubeconfig
meanwhile is found there.
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common.errors import UserError
from lab.kube.identity import FOREVER, Identity, pem
from lab.kube.kubeconfig import AuthProvider, Context, User, read_context, single_context
from lab.kube.plugin import ask_plugin

log = logging.getLogger(__name__)

_FILE_SECONDS = 60.0
_PLUGIN_PAUSE = 10.0
_LOG_IN = "Log in again, as for kubectl."


class Credentials:
    """Reads an identity, and reads it again when it is due; for any thread.

    What cannot be read again is used on: the server may take it yet. `trouble` says why it could
    not, empty when it could. A reading that did not help is repeated after `pause` seconds.
    """

    def __init__(self, read: Callable[[], Identity], pause: float = 0.0) -> None:
        self._read = read
        self._pause = pause
        self._lock = threading.Lock()
        self._identity: Identity | None = None
        self._not_before = 0.0
        self.trouble = ""

    def now(self) -> Identity:
        """Return who we are. Raises UserError when that cannot be read for the first time."""
        with self._lock:
            if self._identity is None:
                self._identity = self._read()
            elif time.time() > self._identity.until:
                self._again()
            return self._identity

    def renew(self, refused: Identity) -> bool:
        """Read again, after the server refused `refused`; tell whether it has changed."""
        with self._lock:
            if self._identity == refused:
                self._again()
            return self._identity != refused

    def _again(self) -> None:
        if time.monotonic() < self._not_before:
            return
        before = self._identity
        try:
            self._identity = self._read()
            self.trouble = ""
        except UserError as error:
            if self.trouble != str(error):
                log.warning("The credentials cannot be renewed: %s", error)
            self.trouble = str(error)
        if self._identity == before:
            self._not_before = time.monotonic() + self._pause


_known: dict[str, Credentials] = {}
_known_lock = threading.Lock()


def credentials_of(context: Context) -> Credentials:
    """Return the credentials of a context; all clients of this process share them.

    A lab makes a client each time it looks, and a plugin takes a second of CPU.
    """
    key = repr((context.origin, context.cluster, context.user))
    with _known_lock:
        if key not in _known:
            _known[key] = _made(context)
        return _known[key]


def _made(context: Context) -> Credentials:
    user = context.user
    if user.exec is None or user.token or user.token_file:
        return Credentials(_Stored(context).read)
    return Credentials(partial(ask_plugin, user.exec, context), pause=_PLUGIN_PAUSE)


class _Stored:
    """What stands in a kubeconfig; the second time, in the one that the context was taken from."""

    def __init__(self, context: Context) -> None:
        self._context: Context | None = context
        self._user = context.user
        self._origin = context.origin

    def read(self) -> Identity:
        """Read it. Raises UserError."""
        if self._context is None:
            kubeconfig, name = self._origin
            if kubeconfig:
                self._user = read_context(single_context(kubeconfig, name)).user
        self._context = None
        return stored_identity(self._user)


def stored_identity(user: User) -> Identity:
    """Return whom a kubeconfig's entry makes us, without running anything. Raises UserError."""
    authorization, until = _authorization(user)
    certificate = ""
    if user.client_certificate or user.client_certificate_data:
        certificate = "\n".join(
            (
                pem(user.client_certificate_data, user.client_certificate, "client-certificate"),
                pem(user.client_key_data, user.client_key, "client-key"),
            )
        )
    return Identity(authorization, certificate, until)


def _authorization(user: User) -> tuple[str, float]:
    if user.token_file:
        return f"Bearer {_token_in(user)}", time.time() + _FILE_SECONDS
    if user.token:
        return f"Bearer {user.token.strip()}", FOREVER
    if user.username or user.password:
        login = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
        return f"Basic {login}", FOREVER
    if user.auth_provider is not None:
        return _provided(user.auth_provider)
    return "", FOREVER


def _token_in(user: User) -> str:
    """Return the token in its file; the entry's own is for when that cannot be read."""
    reason = "it is empty"
    try:
        if token := Path(user.token_file).read_text().strip():
            return token
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
    if user.token:
        return user.token
    raise UserError(f"The token's file {user.token_file} cannot be used: {reason}.", _LOG_IN)


def _provided(provider: AuthProvider) -> tuple[str, float]:
    """Take the token that kubectl keeps for OpenID Connect; kubectl renews it, and not we."""
    if provider.name != "oidc":
        raise UserError(
            f"The kubeconfig takes its credentials from the auth-provider {provider.name!r}, which "
            "kubectl has not any more.",
            "Have your provider's command write a plugin (`exec`) there.",
        )
    token = str(provider.config.get("id-token") or "")
    until = _expiry(token)
    if not token or until <= time.time():
        raise UserError(
            "The token of the kubeconfig's auth-provider oidc has expired.",
            "Run kubectl once, which renews it, or use a plugin (`exec`) such as kubelogin.",
        )
    return f"Bearer {token}", until


def _expiry(jwt: str) -> float:
    try:
        part = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return FOREVER
