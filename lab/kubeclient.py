"""The official Kubernetes client, pointed at one lab."""

from pathlib import Path
from typing import Any

import kubernetes


def core_v1(kubeconfig: Path) -> Any:
    """Return a `kubernetes.client.CoreV1Api` that touches no global configuration."""
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    configuration.proxy = None
    return kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(configuration))


def create_namespace(kubeconfig: Path, name: str) -> None:
    """Make a namespace: a real API server takes no pod into one that is not there."""
    core_v1(kubeconfig).create_namespace({"metadata": {"name": name}})
