"""What our role may not do in a deployment's namespace, found by trying it before it is needed.

RBAC has no reading of one's own rights that every role has. So what will be done is done once: a
watch of pods is begun, a line of a log is read. (A port-forward is tried where the version is read,
the database's Secret where its URL is.)
"""

from dataclasses import replace
from typing import Any

import kubernetes
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from lab.base import WORKERS
from lab.cluster.discovery import Release
from lab.kube.failures import in_words, missing_rule

_TIMEOUT = 10


def with_rights(client: Any, release: Release) -> Release:
    """Return the release, with what will not be seen of it for want of rights.

    Raises UserError where pods cannot be watched: lists alone would miss those between them.
    """
    core = kubernetes.client.CoreV1Api(client)
    with in_words(f"The worker pods in {release.namespace} cannot be watched"):
        _watch(core, release.namespace)
    if missing := _log(core, release):
        unseen = f"what components and workers log: it takes {missing}"
        return replace(release, not_covered=(*release.not_covered, unseen))
    return release


def _watch(core: Any, namespace: str) -> None:
    response = core.list_namespaced_pod(
        namespace,
        label_selector=WORKERS,
        watch=True,
        timeout_seconds=1,
        _preload_content=False,
        _request_timeout=_TIMEOUT,
    )
    try:
        if response.status >= 300:  # older clients do not raise
            raise ApiException(http_resp=response)
    finally:
        response.close()


def _log(core: Any, release: Release) -> str:
    """Return the rule that reading logs takes; empty if we have it, or if something else failed."""
    try:
        core.read_namespaced_pod_log(
            release.schedulers[0],
            release.namespace,
            container="scheduler",
            tail_lines=1,
            limit_bytes=1,
            _request_timeout=_TIMEOUT,
        )
    except (ApiException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return missing_rule(error)
    return ""
