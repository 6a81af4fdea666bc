"""The file that says to Kubernetes clients where a lab's API server is."""

from pathlib import Path

import yaml

from common.files import write_whole


def write_kubeconfig(
    path: Path,
    server: str,
    namespace: str = "default",
    certificate_authority: Path | None = None,
    token: str = "",
) -> Path:
    """Write a kubeconfig of one context, readable by its owner alone; return its path.

    A certificate authority and a token are for a real API server; kubeapi needs neither.
    """
    cluster = {"server": server}
    if certificate_authority is not None:
        cluster["certificate-authority"] = str(certificate_authority.resolve())
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": {"token": token} if token else {}}],
        "contexts": [
            {"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}
        ],
        "current-context": "lab",
    }
    return write_whole(path, yaml.safe_dump(config, sort_keys=False), mode=0o600)
