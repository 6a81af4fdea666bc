"""Plugins of a kubeconfig (`exec`): commands that print the credentials they have got somewhere.

aws, gke-gcloud-auth-plugin, kubelogin, tsh and others. They are run as kubectl runs them, but never
with a terminal: a lab renews its credentials long after anybody looks.
"""

import base64
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from common.errors import UserError
from common.files import last_line
from common.redaction import redact
from lab.kube.identity import FOREVER, Identity, pem
from lab.kube.kubeconfig import Context, Plugin

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_EXTENSION = "client.authentication.k8s.io/exec"
_SECONDS = 60.0
_LENGTH = 300


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Credential(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Status


def ask_plugin(plugin: Plugin, context: Context) -> Identity:
    """Run a plugin and return whom it makes us. Raises UserError with what to do."""
    _check(plugin)
    done = _run(plugin, context)
    name = Path(plugin.command).name
    if done.returncode:
        reason = redact(last_line(done.stderr, "it wrote nothing"))[:_LENGTH]
        raise UserError(
            f"The plugin {name} of context {context.name} failed (exit code {done.returncode}): "
            f"{reason}",
            "Log in again, as for kubectl.",
        )
    try:
        found = msgspec.json.decode(done.stdout, type=_Credential)
    except msgspec.DecodeError as error:
        raise UserError(
            f"The plugin {name} of context {context.name} printed no credentials: {error}.",
            "Run it by hand.",
        ) from None
    if found.api_version != plugin.api_version:
        raise UserError(
            f"The plugin {name} of context {context.name} answers in {found.api_version}, and the "
            f"kubeconfig says {plugin.api_version}.",
            "Have its makers' command write the kubeconfig anew.",
        )
    return _identity(found.status, name, context)


def _check(plugin: Plugin) -> None:
    if plugin.api_version not in _VERSIONS:
        raise UserError(
            f"The plugin {plugin.command} is to speak {plugin.api_version or 'no version'}, which "
            "kubectl does not either.",
            "Have its makers' command write the kubeconfig anew: "
            f"{' or '.join(_VERSIONS)} can be used.",
        )
    if plugin.interactive_mode == "Always":
        raise UserError(
            f"The plugin {plugin.command} wants a terminal each time (interactiveMode: Always).",
            "Use credentials that can be renewed while nobody looks.",
        )


def _run(plugin: Plugin, context: Context) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **{each.name: each.value for each in plugin.env}}
    env["KUBERNETES_EXEC_INFO"] = json.dumps(_info(plugin, context))
    path = shutil.which(plugin.command, path=env.get("PATH"))
    if path is None:
        hint = " ".join(plugin.install_hint.split())[:_LENGTH]
        raise UserError(
            f"The plugin {plugin.command}, which context {context.name} takes to log in, is not "
            "there.",
            hint or "Install it, or see that it is on PATH.",
        )
    try:
        return subprocess.run(
            [path, *plugin.args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"The plugin {plugin.command} of context {context.name} did not end within "
            f"{_SECONDS:.0f} s.",
            "Does it ask for something? Log in with it first.",
        ) from None
    except OSError as error:
        raise UserError(
            f"The plugin {plugin.command} of context {context.name} cannot be run: "
            f"{error.strerror}.",
            "Look at the file.",
        ) from None


def _info(plugin: Plugin, context: Context) -> dict[str, Any]:
    """Return what a plugin is told: about the cluster too, if it wants that."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        there = context.cluster
        cluster = {key: each for key, each in context.raw_cluster.items() if key in _TOLD}
        if there.certificate_authority and not there.certificate_authority_data:
            data = pem("", there.certificate_authority, "certificate-authority")
            cluster["certificate-authority-data"] = base64.b64encode(data.encode()).decode()
        for each in there.extensions:
            if each.get("name") == _EXTENSION:
                cluster["config"] = each.get("extension")
        spec["cluster"] = cluster
    return {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}


_TOLD = frozenset(
    {
        "server",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "certificate-authority-data",
        "proxy-url",
        "disable-compression",
    }
)


def _identity(status: _Status, name: str, context: Context) -> Identity:
    certificate = bool(status.client_certificate_data and status.client_key_data)
    if not status.token and not certificate:
        raise UserError(
            f"The plugin {name} of context {context.name} printed neither a token nor a "
            "certificate with its key.",
            "Run it by hand.",
        )
    until = status.expiration_timestamp
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return Identity(
        authorization=f"Bearer {status.token}" if status.token else "",
        certificate=(
            f"{status.client_certificate_data}\n{status.client_key_data}" if certificate else ""
        ),
        until=until.timestamp() if until else FOREVER,
    )
