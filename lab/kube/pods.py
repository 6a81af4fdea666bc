"""Pods as a lab's processes: name, node, container, and how they are."""

from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException

_NOT_FOUND = 404


@dataclass(frozen=True)
class Process:
    """One pod of a component; `container_id` is the runtime's, of the main container."""

    name: str
    node: str
    ip: str
    container: str
    container_id: str
    ready: bool
    restarts: int


def processes(core: Any, namespace: str, selector: str) -> list[Process]:
    """Return the pods of a label selector that run and are not being deleted, by name."""
    pods = core.list_namespaced_pod(namespace, label_selector=selector).items
    return sorted((_process(pod) for pod in pods if _lives(pod)), key=lambda each: each.name)


def process(core: Any, namespace: str, name: str) -> Process | None:
    """Return one pod that runs and is not being deleted, None when there is none of this name."""
    try:
        pod = core.read_namespaced_pod(name, namespace)
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise
        return None
    return _process(pod) if _lives(pod) else None


def _lives(pod: Any) -> bool:
    return (
        pod.metadata.deletion_timestamp is None
        and pod.status.phase == "Running"
        and bool(pod.status.container_statuses)
    )


def _process(pod: Any) -> Process:
    main = pod.spec.containers[0].name
    status = next(each for each in pod.status.container_statuses if each.name == main)
    return Process(
        name=pod.metadata.name,
        node=pod.spec.node_name,
        ip=pod.status.pod_ip or "",
        container=main,
        container_id=(status.container_id or "").rpartition("/")[2],
        ready=all(each.ready for each in pod.status.container_statuses),
        restarts=status.restart_count,
    )
