"""What can be done to pods and namespaces: the store's operations under Kubernetes' rules."""

import uuid
from collections.abc import Callable
from typing import Any

from lab.kubeapi import pods, status
from lab.kubeapi.pods import PODS
from lab.kubeapi.selectors import Selector
from lab.kubeapi.store import Object, Record, Resource, Store
from lab.kubeapi.validation import generated_name, metadata_causes, namespace_name_causes

NAMESPACES = Resource(
    "namespaces",
    "Namespace",
    False,
    {"metadata.name": ("metadata", "name"), "status.phase": ("status", "phase")},
)

_CHANGED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def identified(resource: Resource, namespace: str, obj: Object) -> Object:
    """Return a client's new object with the identity that the server gives: name, uid, time.

    Raises ApiError 400 if the object is of another kind or for another namespace.
    """
    check_kind(resource, obj)
    metadata = {key: value for key, value in obj["metadata"].items() if value is not None}
    if metadata.get("namespace", namespace) != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated_name(metadata["generateName"])
    metadata.setdefault("name", "")
    if resource.namespaced:
        metadata["namespace"] = namespace
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"):
        metadata.pop(key, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": pods.now()}
    return {**obj, "kind": resource.kind, "apiVersion": "v1", "metadata": metadata}


def check_kind(resource: Resource, obj: Object) -> None:
    """Raise ApiError 400 unless the object is a v1 object of the resource's kind."""
    found = (obj.get("apiVersion", "v1"), obj.get("kind", resource.kind))
    if found != ("v1", resource.kind):
        raise status.bad_request(f"{found[1]} in version {found[0]!r} cannot be handled here")


class Registry:
    """Pods and namespaces of one server.

    A namespace comes into being when it is created, and also with its first pod, so that a lab
    need not prepare one.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        for name in ("default", "kube-system"):
            self.create_namespace({"metadata": {"name": name}})

    def create_namespace(self, obj: Object) -> Record:
        """Keep a new namespace; raises ApiError 409 or 422."""
        obj = identified(NAMESPACES, "", obj)
        name = obj["metadata"]["name"]
        causes = namespace_name_causes(name) + metadata_causes(obj["metadata"])
        if causes:
            raise status.invalid(NAMESPACES.kind, name, causes)
        labels = {"kubernetes.io/metadata.name": name}
        obj["metadata"]["labels"] = {**obj["metadata"].get("labels", {}), **labels}
        active = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        return self.store.create(NAMESPACES, {**obj, **active})

    def create_pod(self, namespace: str, obj: Object) -> Record:
        """Keep a new pod; raises ApiError 400, 409 or 422."""
        pod = pods.created(identified(PODS, namespace, obj))
        try:
            self.store.get(NAMESPACES, "", namespace)
        except status.ApiError:
            self.create_namespace({"metadata": {"name": namespace}})
        return self.store.create(PODS, pod)

    def update_pod(
        self, namespace: str, name: str, subresource: str, change: Callable[[Object], Object]
    ) -> Record:
        """Keep what `change` makes of a pod or its status; raises ApiError 404, 409 or 422."""
        record = self.store.get(PODS, namespace, name)
        before = record.object()
        after = change(record.object())
        self._check_identity(record, before, after)
        rules = pods.status_updated if subresource == "status" else pods.updated
        return self.store.replace(record, before, rules(before, after))

    def _check_identity(self, record: Record, before: Object, after: Object) -> None:
        check_kind(PODS, after)
        metadata = after["metadata"]
        for field, place in (("name", "name"), ("namespace", "namespace")):
            given = metadata.setdefault(field, before["metadata"][field])
            if given != before["metadata"][field]:
                raise status.bad_request(
                    f"the {place} of the object ({given}) does not match the {place} on the URL "
                    f"({before['metadata'][field]})"
                )
        uid = metadata.get("uid") or before["metadata"]["uid"]
        if uid != before["metadata"]["uid"]:
            raise self._uid_conflict(record, uid)
        if metadata.get("resourceVersion", "") not in ("", str(record.revision)):
            raise status.conflict(PODS.plural, record.name, _CHANGED)

    def _uid_conflict(self, record: Record, uid: str) -> status.ApiError:
        found = record.object()["metadata"]["uid"]
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        return status.conflict(PODS.plural, record.name, why)

    def bind_pod(self, namespace: str, name: str, binding: Object) -> None:
        """Assign a pod to the node that a Binding names; raises ApiError 400, 404 or 409."""
        target = binding.get("target")
        node = target.get("name") if isinstance(target, dict) else None
        if not isinstance(node, str) or not node:
            raise status.bad_request("a Binding needs target.name, the name of a node")
        record = self.store.get(PODS, namespace, name)
        pod = record.object()
        self.store.replace(record, pod, pods.bound(pod, node))

    def delete_pod(self, namespace: str, name: str, options: Object) -> Record:
        """Delete a pod as far as its grace allows; return its newest, or last, version.

        Raises ApiError 404, and 409 when a precondition of the options does not hold.
        """
        record = self.store.get(PODS, namespace, name)
        self._check_preconditions(record, options.get("preconditions") or {})
        pod = record.object()
        marked = pods.deleted(pod, options.get("gracePeriodSeconds"))
        if marked is None:
            return record
        record = self.store.replace(record, pod, marked)
        if marked["metadata"]["deletionGracePeriodSeconds"] == 0:
            self.store.remove(record)
        return record

    def _check_preconditions(self, record: Record, preconditions: dict[str, Any]) -> None:
        uid = preconditions.get("uid")
        if uid is not None and uid != record.object()["metadata"]["uid"]:
            raise self._uid_conflict(record, uid)
        wanted = preconditions.get("resourceVersion")
        if wanted is not None and wanted != str(record.revision):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {wanted}, "
                f"ResourceVersion in object meta: {record.revision}"
            )
            raise status.conflict(PODS.plural, record.name, why)

    def delete_pods(self, namespace: str, selector: Selector, options: Object) -> list[Record]:
        """Delete all selected pods of a namespace, each with its own grace."""
        return [
            self.delete_pod(namespace, record.name, options)
            for record in self.store.records(PODS, namespace)
            if selector.matches(record.labels, record.fields)
        ]
