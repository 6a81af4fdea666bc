"""What it means that the Kubernetes API did not do what it was asked, and what to do about it.

A role that is too small is told by the rule that it lacks, as the API server itself words it: no
other question is asked, so none can be denied.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from common.redaction import redact
from lab.kube.proxy import ProxyRefused

_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
    r' in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)"| at the cluster scope)'
)
_LENGTH = 300
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_NAME_MISMATCH = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, .._IP_ADDRESS_MISMATCH
_EXPIRED = 10
_LOOK = "Look at --context, and whether kubectl reaches it from here."
_TLS = "Look at certificate-authority and tls-server-name of its entry in the kubeconfig."


class _Status(msgspec.Struct):
    message: str = ""


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Raise what the API, or the way to it, fails with as a UserError; a decorator, too."""
    try:
        yield
    except (ApiException, HTTPError, OSError) as error:
        raise explained(error, what) from error


def explained(error: Exception, what: str) -> UserError:
    """Return an error of the API, or of the way to it, in words; `what` is what cannot be done.

    `error` is an ApiException, a ChannelRefused, or any of urllib3's, ssl's and the system's. The
    rule that is missing is in the hint: "Allow `get secrets` in namespace prod."
    """
    if isinstance(error, UserError):
        return UserError(f"{what}: {error.message}", error.hint)
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        reason, hint = _unreached(error)
        return UserError(f"{what}: {reason}", hint)
    if status == _UNAUTHORIZED:
        return UserError(
            f"{what}: the cluster does not accept the credentials (401 {_reason(error)}).",
            "Log in again, as for kubectl: `kubectl auth whoami` must work.",
        )
    if status == _FORBIDDEN:
        return _denied(error, what)
    return UserError(f"{what}: {status} {_words(error)}".rstrip("."), "")


def missing_rule(error: Exception) -> str:
    """Return the rule that a role lacks, such as `get pods/log` in namespace prod; empty: none."""
    found = _DENIED.search(_words(error)) if getattr(error, "status", None) == _FORBIDDEN else None
    return _rule(found) if found else ""


def _denied(error: Exception, what: str) -> UserError:
    words = _words(error)
    found = _DENIED.search(words)
    if not found:
        return UserError(f"{what}: the cluster forbids it: {words}", "Ask who runs the cluster.")
    return UserError(f"{what}: {found['user']} may not.", f"Allow {_rule(found)}.")


def _rule(denied: re.Match[str]) -> str:
    group = f".{denied['group']}" if denied["group"] else ""
    resource, slash, part = denied["resource"].partition("/")
    where = denied["namespace"]
    place = f"in namespace {where}" if where else "in the whole cluster (a ClusterRole)"
    return f"`{denied['verb']} {resource}{group}{slash}{part}` {place}"


def _words(error: Exception) -> str:
    """Return the message of the Status that the API answered with, else its reason."""
    body = getattr(error, "body", None) or ""
    try:
        message = msgspec.json.decode(body, type=_Status).message
    except (msgspec.DecodeError, TypeError):
        message = ""
    return redact(" ".join((message or _reason(error)).split()))[:_LENGTH]


def _reason(error: Exception) -> str:
    return redact(" ".join(str(getattr(error, "reason", "") or "").split()))[:_LENGTH]


def _unreached(error: Exception) -> tuple[str, str]:
    """Say why the API server was not reached: of all that wraps it, what the system said first."""
    for cause in reversed(list(_causes(error))):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(cause)
        if isinstance(cause, ProxyRefused):
            return f"{cause}.", "Look at its login, at what it allows, and at NO_PROXY."
        if isinstance(cause, ssl.SSLError):
            return f"TLS fails: {cause.reason or cause.strerror}.", _TLS
        if isinstance(cause, OSError) and not cause.errno and not isinstance(cause, TimeoutError):
            return f"{_line(cause)}.", _LOOK  # what `connect` says, with the address
    return f"{_line(error)}.", _LOOK


def _certificate(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    if error.verify_code in _NAME_MISMATCH:
        return (
            f"the server's certificate is for another name: {error.verify_message}",
            "Set tls-server-name in the cluster's entry of the kubeconfig.",
        )
    if error.verify_code == _EXPIRED:
        return "the server's certificate has expired.", "Look at this machine's clock, too."
    return (
        f"the server's certificate is not trusted: {error.verify_message}.",
        "Look at certificate-authority in the cluster's entry of the kubeconfig; behind a proxy "
        "that opens TLS, it is the proxy's.",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it wraps: by a cause, as its reason, or as an argument."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = [getattr(error, "reason", None), error.__cause__, *error.args]
        error = next((each for each in inner if isinstance(each, BaseException)), None)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return redact(text)[:_LENGTH].rstrip(".")
