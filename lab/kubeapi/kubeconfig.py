"""The file that says to Kubernetes clients where a lab's API server is, and as whom they ask."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from common.files import write_whole

CLIENTS = "/clients/"
"""Below it the small Kubernetes API serves everything once more to each client, by its name.

A server's path is what every client of Kubernetes sends with every request, watches and the dynamic
client's included. The Python client has no impersonation and no user agent in its kubeconfig; a
token would be a secret to whoever hides secrets."""


def write_kubeconfig(
    path: Path,
    server: str,
    namespace: str = "default",
    certificate_authority: Path | None = None,
    token: str = "",
    clients: Sequence[str] = ("lab",),
) -> Path:
    """Write a kubeconfig, readable by its owner alone; return its path.

    It has a context for each of `clients`, the first one is current; `{client}` in `server` becomes
    its name. A certificate authority and a token are for a real API server; kubeapi needs neither.
    """
    authority = (
        {"certificate-authority": str(certificate_authority.resolve())}
        if (certificate_authority is not None)
        else {}
    )
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server.format(client=name), **authority}}
            for name in clients
        ],
        "users": [{"name": "lab", "user": {"token": token} if token else {}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "lab", "namespace": namespace}}
            for name in clients
        ],
        "current-context": clients[0],
    }
    return write_whole(path, yaml.safe_dump(config, sort_keys=False), mode=0o600)
