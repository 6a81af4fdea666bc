"""Kubeconfigs as kubectl takes them, several files or none: inside a pod, its service account.

A lab keeps one context alone, in a file of its own. That names where it was taken from, so that
credentials which the user has renewed there meanwhile are found again.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import yaml

from common.errors import UserError
from common.paths import path_of

Kubeconfig = dict[str, Any]
"""What a kubeconfig holds."""

IN_CLUSTER = "in-cluster"
"""In place of a kubeconfig's path: the service account of the pod that we run in."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds token, ca.crt and namespace; the kubelet renews the token there."""

_FILES = frozenset({"certificate-authority", "client-certificate", "client-key", "tokenFile"})
_OURS = "airflow-ha-chaos"
_MEND = "Mend it: `kubectl config view` must accept it."
_SET_IT = "Set KUBECONFIG, as for kubectl."


class Cluster(msgspec.Struct, rename="kebab"):
    """The entry of a cluster: where its API is, and how its certificate is checked."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    extensions: list[dict[str, Any]] = []


class EnvironmentVariable(msgspec.Struct):
    """One that a plugin gets beside those of this process."""

    name: str
    value: str = ""


class Plugin(msgspec.Struct, rename="camel"):
    """A command that prints credentials."""

    command: str
    api_version: str = ""
    args: list[str] = []
    env: list[EnvironmentVariable] = []
    install_hint: str = ""
    interactive_mode: str = ""
    provide_cluster_info: bool = False


class AuthProvider(msgspec.Struct):
    """What kubectl knew before there were plugins."""

    name: str = ""
    config: dict[str, Any] = {}


class User(msgspec.Struct, rename="kebab"):
    """The entry of a user: how one logs in, and as whom one acts then."""

    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    password: str = ""
    exec: Plugin | None = None
    auth_provider: AuthProvider | None = None
    as_user: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] = []
    as_user_extra: dict[str, list[str]] = {}


class Context(msgspec.Struct):
    """One context, with all that it refers to; `origin` is the kubeconfig and the context in it."""

    name: str
    namespace: str
    cluster: Cluster
    user: User
    raw_cluster: dict[str, Any]
    origin: tuple[str, str]


def default_kubeconfig() -> str:
    """Return where kubectl would look: KUBECONFIG (a list of paths), ~/.kube/config, the pod."""
    if listed := os.environ.get("KUBECONFIG"):
        paths = (path_of(each) for each in listed.split(os.pathsep) if each)
        return os.pathsep.join(str(path.absolute()) for path in paths)
    path = path_of("~/.kube/config")
    return IN_CLUSTER if not path.exists() and _in_pod() else str(path)


def _in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").exists()


def single_context(kubeconfig: str, context: str | None) -> Kubeconfig:
    """Return a kubeconfig of one context alone, its own current one where `context` is None.

    `kubeconfig` may be a list of paths, as KUBECONFIG is; the first that names a thing counts.
    Paths inside are made absolute. Raises UserError when a part is missing or of another shape.
    """
    if kubeconfig == IN_CLUSTER:
        return _of_the_pod(context)
    files = [path_of(each) for each in kubeconfig.split(os.pathsep) if each]
    read = [(path, _read(path)) for path in files if path.exists()]
    if not read:
        raise UserError(f"There is no kubeconfig at {kubeconfig}.", _SET_IT)
    if not any(data for _, data in read):
        raise UserError(f"The kubeconfig {kubeconfig} is empty.", _SET_IT)
    name = context or next((d["current-context"] for _, d in read if d.get("current-context")), "")
    if not name:
        raise UserError(f"{kubeconfig} has no current context.", "Name one with --context.")
    known = list(dict.fromkeys(e["name"] for path, d in read for e in _entries(path, d, "context")))
    if name not in known:
        raise UserError(
            f"{kubeconfig} has no context {name!r}.", f"It has: {', '.join(known) or 'none'}."
        )
    chosen = _named(read, "context", name)
    body = chosen["context"]
    if not body.get("cluster"):
        raise UserError(
            f"Context {name} of {kubeconfig} names no cluster.", "Add `cluster:` there."
        )
    return _whole(
        kubeconfig,
        chosen,
        _named(read, "cluster", body["cluster"]),
        [_named(read, "user", body["user"])] if body.get("user") else [],
    )


def _whole(
    origin: str, context: dict[str, Any], cluster: dict[str, Any], users: list[dict[str, Any]]
) -> Kubeconfig:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context["name"],
        "contexts": [context],
        "clusters": [cluster],
        "users": users,
        "extensions": [
            {"name": _OURS, "extension": {"kubeconfig": origin, "context": context["name"]}}
        ],
    }


def _of_the_pod(context: str | None) -> Kubeconfig:
    """Describe the service account as a kubeconfig: its token is a file, read again and again."""
    if context not in (None, IN_CLUSTER):
        raise UserError(
            f"There is no kubeconfig that could have a context {context!r}: this is a pod, whose "
            "service account is used.",
            "Leave out --context, or set KUBECONFIG.",
        )
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "") or "443"
    cluster = {
        "server": f"https://{f'[{host}]' if ':' in host else host}:{port}",
        "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt"),
    }
    body = {"cluster": IN_CLUSTER, "user": IN_CLUSTER}
    with suppress(OSError):  # --namespace is asked for then
        body["namespace"] = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    return _whole(
        IN_CLUSTER,
        {"name": IN_CLUSTER, "context": body},
        {"name": IN_CLUSTER, "cluster": cluster},
        [{"name": IN_CLUSTER, "user": {"tokenFile": str(SERVICE_ACCOUNT / "token")}}],
    )


def _read(path: Path) -> Kubeconfig:
    """Read one file. Its text is in no message: it may hold a password."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"The kubeconfig {path} cannot be read: {error.strerror}.", _SET_IT
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UserError(f"The kubeconfig {path} is not YAML{where}.", _SET_IT) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path} is not a valid kubeconfig.", _MEND)
    return data


def _entries(path: Path, data: Kubeconfig, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a kind, each with a name and a body; what is null is not there."""
    listed = data.get(f"{kind}s") or []
    if not isinstance(listed, list):
        raise UserError(f"{path} is not a valid kubeconfig: {kind}s is not a list.", _MEND)
    for each in listed:
        body = each.get(kind) or {} if isinstance(each, dict) else None
        if not isinstance(body, dict) or not isinstance(each.get("name"), str):
            raise UserError(
                f"{path} is not a valid kubeconfig: an entry of {kind}s has no name, or no {kind}.",
                _MEND,
            )
        yield {"name": each["name"], kind: {k: v for k, v in body.items() if v is not None}}


def _named(read: list[tuple[Path, Kubeconfig]], kind: str, name: str) -> dict[str, Any]:
    for path, data in read:
        for each in _entries(path, data, kind):
            if each["name"] == name:
                return {**each, kind: _absolute(each[kind], path.resolve().parent)}
    files = os.pathsep.join(str(path) for path, _ in read)
    raise UserError(f"The kubeconfig {files} has no entry {name!r} under {kind}s.", "Add it there.")


def _absolute(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make paths absolute: those of files, and a plugin's, where it is one and not a name."""
    found = {
        key: str(base / value) if key in _FILES and isinstance(value, str) and value else value
        for key, value in entry.items()
    }
    plugin = found.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command")):
        found["exec"] = {**plugin, "command": str(base / str(plugin["command"]))}
    return found


def read_context(kubeconfig: Path | Kubeconfig) -> Context:
    """Return the current context of a file, or of what `single_context` returned.

    Raises UserError when a part is missing or of another shape, without what it holds.
    """
    path = str(kubeconfig) if isinstance(kubeconfig, Path) else ""
    data = _whole_file(kubeconfig) if isinstance(kubeconfig, Path) else kubeconfig
    name = str(data.get("current-context"))
    origin = _origin(data)
    try:
        context = data["contexts"][0]["context"]
        cluster = data["clusters"][0]["cluster"]
        user = data["users"][0]["user"] if data["users"] else {}
        return Context(
            name=name,
            namespace=str(context.get("namespace") or ""),
            cluster=msgspec.convert(cluster, Cluster, strict=False),
            user=msgspec.convert(_without_null(user), User, strict=False),
            raw_cluster=cluster,
            origin=origin or (path, name),
        )
    except (KeyError, IndexError) as error:
        raise UserError(
            f"The kubeconfig {path or name} cannot be used: it is not whole.", _MEND
        ) from error
    except msgspec.ValidationError as error:
        raise UserError(f"The kubeconfig {path or name} cannot be used: {error}.", _MEND) from error


def _whole_file(path: Path) -> Kubeconfig:
    """Read a lab's copy as it is, and any other file's current context."""
    if path.exists() and _origin(data := _read(path)):
        return data
    return single_context(str(path), None)


def _origin(data: Kubeconfig) -> tuple[str, str] | None:
    for each in data.get("extensions") or ():
        if isinstance(each, dict) and each.get("name") == _OURS:
            return each["extension"]["kubeconfig"], each["extension"]["context"]
    return None


def _without_null(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _without_null(value) for key, value in thing.items() if value is not None}
    return thing
