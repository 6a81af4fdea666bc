"""Pods as a lab's processes: what they are labelled, where they run, and how they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException

from lab.base import WORKERS, ProcessEnd
from lab.kube.failures import explained

DAEMONS = "tier=airflow,kubernetes_executor!=True"
"""The label selector of all of the chart's pods but workers."""

API_PORT = 8080
"""Where the chart's API server listens, unless told otherwise."""

POD, ENDPOINTS = "pod/", "endpoints/"
"""What stands before a name in place of a label selector: that pod; who is behind that Service."""

_TIMEOUT = 10
_NOT_FOUND = 404
_SERVICE = "kubernetes.io/service-name"


def own_workers(release: str, neighbours: Sequence[str]) -> str:
    """Return the label selector of a release's worker pods.

    Where other releases are in its namespace, only those that say that they are its own: the
    official chart's pod template does.
    """
    return f"{WORKERS},release={release}" if neighbours else WORKERS


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
    end: ProcessEnd | None = None
    """How the container before this one ended, where the API still tells."""


def list_pods(core: Any, namespace: str, selector: str) -> list[Any]:
    """Return the pods of a label selector; or `pod/NAME`, or those of `endpoints/SERVICE`."""
    if selector.startswith(POD):
        names = [selector.removeprefix(POD)]
    elif selector.startswith(ENDPOINTS):
        behind = addresses_behind(core, namespace, selector.removeprefix(ENDPOINTS))
        names = [each.pod for each in behind if each.pod]
    else:
        pods = core.list_namespaced_pod(
            namespace, label_selector=selector, _request_timeout=_TIMEOUT
        )
        return list(pods.items)
    return [pod for pod in (_pod(core, namespace, name) for name in names) if pod is not None]


def _pod(core: Any, namespace: str, name: str) -> Any | None:
    try:
        return core.read_namespaced_pod(name, namespace, _request_timeout=_TIMEOUT)
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise
        return None


@dataclass(frozen=True)
class Address:
    """What stands behind a Service; `pod` is empty where it is no pod, `port` 0 where unsaid."""

    address: str
    port: int
    pod: str


def addresses_behind(core: Any, namespace: str, service: str) -> list[Address]:
    """Return who is ready behind a Service, by its Endpoints, or else by its EndpointSlices.

    Raises UserError, with the rule that is missing, where neither may be seen.
    """
    refused = None
    for ask in (_by_endpoints, _by_slices):
        try:
            if found := list(ask(core, namespace, service)):
                return found
        except ApiException as error:
            if error.status != _NOT_FOUND:
                refused = refused or error
    if refused is not None:
        what = f"The addresses behind the Service {service} in {namespace} cannot be seen"
        raise explained(refused, what) from None
    return []


def _by_endpoints(core: Any, namespace: str, service: str) -> Iterator[Address]:
    found = core.read_namespaced_endpoints(service, namespace, _request_timeout=_TIMEOUT)
    for subset in found.subsets or ():
        port = subset.ports[0].port if subset.ports else 0
        for each in subset.addresses or ():
            yield Address(each.ip, port, _pod_name(each.target_ref))


def _by_slices(core: Any, namespace: str, service: str) -> Iterator[Address]:
    from kubernetes.client import DiscoveryV1Api  # its models take long to import

    found = DiscoveryV1Api(core.api_client).list_namespaced_endpoint_slice(
        namespace, label_selector=f"{_SERVICE}={service}", _request_timeout=_TIMEOUT
    )
    for part in found.items:
        port = part.ports[0].port if part.ports else 0
        for each in part.endpoints or ():
            if each.conditions is None or each.conditions.ready is not False:
                yield Address(each.addresses[0], port or 0, _pod_name(each.target_ref))


def _pod_name(target: Any) -> str:
    return str(target.name) if target is not None and target.kind == "Pod" else ""


def processes(core: Any, namespace: str, selector: str) -> list[Process]:
    """Return the pods of a label selector that run and are not being deleted, by name."""
    found = (_process(pod) for pod in list_pods(core, namespace, selector) if _lives(pod))
    return sorted(found, key=lambda each: each.name)


def process(core: Any, namespace: str, name: str) -> Process | None:
    """Return one pod that runs and is not being deleted, None when there is none of this name."""
    pod = _pod(core, namespace, name)
    return _process(pod) if pod is not None and _lives(pod) else None


def runs(pod: Any) -> bool:
    """Tell whether a pod runs and is not being deleted."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase == "Running"


def is_ready(thing: Any) -> bool:
    """Tell whether a pod or a node has the condition Ready."""
    conditions = thing.status.conditions or ()
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def statuses(pod: Any) -> list[Any]:
    """Return the statuses of a pod's containers, init containers first."""
    return [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]


def _lives(pod: Any) -> bool:
    return runs(pod) and bool(pod.status.container_statuses)


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
        end=_end(pod.metadata.name, status),
    )


def _end(name: str, status: Any) -> ProcessEnd | None:
    """Read the last end; the API tells whole seconds, and it was not before the next one began."""
    last = getattr(status.last_state, "terminated", None) if status.restart_count else None
    if last is None or last.finished_at is None:
        return None
    again = getattr(status.state, "running", None)
    return ProcessEnd(
        process=name,
        exit_code=last.exit_code,
        at=last.finished_at.timestamp() + 1.0,
        last_words=_last_words(last),
        again=again.started_at.timestamp() + 1.0 if again and again.started_at else 0.0,
    )


def _last_words(terminated: Any) -> str:
    """Give the reason where it is one (OOMKilled), and the last line of the message."""
    reason = "" if terminated.reason in (None, "Error", "Completed") else terminated.reason
    message = [line for line in (terminated.message or "").splitlines() if line.strip()]
    return ": ".join(filter(None, [reason, message[-1].strip()[:300] if message else ""]))
