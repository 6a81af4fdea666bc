"""What makes a pod a pod: its defaults, what may change, binding and graceful deletion.

The rules are those of kube-apiserver's pod strategy (pkg/registry/core/pod/strategy.go) as far
as the executor and a kubelet can tell. Functions take and return plain objects, never the store.
"""

import copy
import time
from typing import Any

from lab.kubeapi import status
from lab.kubeapi.store import Object, Resource
from lab.kubeapi.validation import Cause, metadata_causes, name_causes

PODS = Resource(
    "pods",
    "Pod",
    True,
    {
        "metadata.name": ("metadata", "name"),
        "metadata.namespace": ("metadata", "namespace"),
        "spec.nodeName": ("spec", "nodeName"),
        "spec.restartPolicy": ("spec", "restartPolicy"),
        "spec.schedulerName": ("spec", "schedulerName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"),
        "status.phase": ("status", "phase"),
        "status.podIP": ("status", "podIP"),
    },
)

_SPEC_DEFAULTS: Object = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "enableServiceLinks": True,
}
# Set by the server once, so a client's value for them is ignored.
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_FORBIDDEN = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, "
    "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds` or `spec.tolerations`"
)


def now(plus_seconds: int = 0) -> str:
    """Return the time as Kubernetes writes it: UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + plus_seconds))


def created(pod: Object) -> Object:
    """Return a new pod with its defaults; its status is the server's, whatever was sent.

    Raises ApiError 422 listing every field that breaks a rule.
    """
    spec = pod.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    causes = name_causes(pod["metadata"]["name"]) + metadata_causes(pod["metadata"])
    causes += _container_causes(spec.get("containers"))
    if causes:
        raise status.invalid(PODS.kind, pod["metadata"]["name"], causes)
    return {**pod, "spec": {**_SPEC_DEFAULTS, **spec}, "status": {"phase": "Pending"}}


def _container_causes(containers: Any) -> list[Cause]:
    if not isinstance(containers, list) or not containers:
        return [("spec.containers", "FieldValueRequired", "Required value")]
    return [
        (f"spec.containers[{index}].{field}", "FieldValueRequired", "Required value")
        for index, container in enumerate(containers)
        for field in ("name", "image")
        if not (isinstance(container, dict) and container.get(field))
    ]


def updated(before: Object, after: Object) -> Object:
    """Return the pod after a PUT or PATCH of itself: metadata changes, its status does not.

    Raises ApiError 422 if the update touches what is fixed when a pod is created.
    """
    after = {**after, "status": before.get("status", {})}
    name = before["metadata"]["name"]
    causes = metadata_causes(after["metadata"])
    if before["spec"] != after.get("spec") and _fixed_part(before) != _fixed_part(after):
        causes.append(("spec", "FieldValueForbidden", _FORBIDDEN))
    if causes:
        raise status.invalid(PODS.kind, name, causes)
    return _keep_server_owned(before, after)


def _fixed_part(pod: Object) -> Object:
    spec = copy.deepcopy(pod.get("spec", {}))
    for field in ("activeDeadlineSeconds", "tolerations"):
        spec.pop(field, None)
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        container.pop("image", None)
    return dict(spec)


def status_updated(before: Object, after: Object) -> Object:
    """Return the pod after a PUT or PATCH of pods/status: the spec stays as it is."""
    if after["metadata"] != before["metadata"] and (causes := metadata_causes(after["metadata"])):
        raise status.invalid(PODS.kind, before["metadata"]["name"], causes)
    return _keep_server_owned(before, {**after, "spec": before["spec"]})


def _keep_server_owned(before: Object, after: Object) -> Object:
    metadata = dict(after["metadata"])
    for field in _SERVER_OWNED:
        metadata.pop(field, None)
        if field in before["metadata"]:
            metadata[field] = before["metadata"][field]
    return {**after, "metadata": metadata}


def bound(pod: Object, node: str) -> Object:
    """Return the pod assigned to a node; raises ApiError 409 if it has one or is going away."""
    name = pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        why = f"pod {name} is being deleted, cannot be assigned to a host"
        raise status.conflict("pods/binding", name, why)
    if pod["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise status.conflict("pods/binding", name, why)
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
    conditions = [
        each for each in pod["status"].get("conditions", []) if each["type"] != "PodScheduled"
    ]
    return {
        **pod,
        "spec": {**pod["spec"], "nodeName": node},
        "status": {**pod["status"], "conditions": [*conditions, condition]},
    }


def grace_seconds(pod: Object, asked: int | None) -> int:
    """Return how long a deletion leaves a pod that has not been deleted before.

    A pod that no kubelet runs, or that has ended, needs no time.
    """
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    if ended or not pod["spec"].get("nodeName"):
        return 0
    grace = pod["spec"].get("terminationGracePeriodSeconds", 0) if asked is None else asked
    return max(int(grace), 0)


def deleted(pod: Object, asked: int | None) -> Object | None:
    """Return the pod marked for deletion, None if it is marked already with no longer grace.

    The grace left is in its metadata.deletionGracePeriodSeconds; 0 means that it goes now.
    """
    metadata = pod["metadata"]
    before = metadata.get("deletionGracePeriodSeconds")
    if before is None:
        grace = grace_seconds(pod, asked)
    elif asked is None or asked >= before:
        return None
    else:
        grace = max(asked, 0)
    deadline = {"deletionTimestamp": now(grace), "deletionGracePeriodSeconds": grace}
    return {**pod, "metadata": {**metadata, **deadline}}
