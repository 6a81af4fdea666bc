"""What the parts of a deployed lab are called in its namespace."""

from collections.abc import Sequence
from pathlib import Path

from lab.base import WORKERS

MANAGED_BY = {"app.kubernetes.io/managed-by": "airflow-ha-chaos"}
RELEASE = "airflow"
POSTGRES = "ha-chaos-postgres"
PROXY = "ha-chaos-dbproxy"
DAGS = "ha-chaos-dags"
PROXY_CODE = "ha-chaos-dbproxy-code"
METADATA = "ha-chaos-metadata"
LEDGER = "ha-chaos-ledger"
WORKER = "ha-chaos-worker"
START_DELAY = "start_delay"


def own_workers(release: str, neighbours: Sequence[str]) -> str:
    """Return the label selector of a release's worker pods.

    Where other releases are in its namespace, only those that say that they are its own: the
    official chart's pod template does.
    """
    return f"{WORKERS},release={release}" if neighbours else WORKERS


POSTGRES_PORT = 5432
CONTROL_PORT = 8474
API_PORT = 8080


def namespace_of(directory: Path) -> str:
    """Return the namespace of the lab in a folder: it can be told when nothing else is known."""
    return f"ha-chaos-{directory.name.rsplit('-', 1)[1]}"
