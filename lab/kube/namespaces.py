"""A lab's namespace: made, and removed with all that is in it."""

import logging
import time
from pathlib import Path

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from lab.kube import names
from lab.supervised import core_v1

log = logging.getLogger(__name__)

_GONE = 404


def ours(kubeconfig: Path) -> list[str]:
    """Return the namespaces that labs of this project made."""
    selector = ",".join(f"{key}={value}" for key, value in names.MANAGED_BY.items())
    found = core_v1(kubeconfig).list_namespace(label_selector=selector, _request_timeout=10)
    return [each.metadata.name for each in found.items]


def remove(kubeconfig: Path, name: str, timeout: float = 120.0) -> None:
    """Delete a namespace and wait until it is gone; fine when there is none.

    Raises UserError when the cluster does not answer, or it is still there after `timeout` seconds.
    A namespace without our label is not ours to delete.
    """
    try:
        core = core_v1(kubeconfig)
        found = core.read_namespace(name, _request_timeout=10)
        if not names.MANAGED_BY.items() <= (found.metadata.labels or {}).items():
            raise UserError(f"Namespace {name} was not made by a lab: it stays.")
        core.delete_namespace(name, _request_timeout=10)
        core.delete_collection_namespaced_pod(name, grace_period_seconds=0, _request_timeout=10)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            core.read_namespace(name, _request_timeout=10)
            time.sleep(0.3)
    except ApiException as error:
        if error.status == _GONE:
            log.info("Namespace %s is gone.", name)
            return
        raise UserError(f"Namespace {name} cannot be deleted: {error.reason}.") from error
    except (HTTPError, OSError) as error:
        raise UserError(f"The cluster of namespace {name} does not answer: {error}") from error
    raise UserError(f"Namespace {name} is still there after {timeout:.0f} s.")
