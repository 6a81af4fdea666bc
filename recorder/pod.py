"""What the Kubernetes API tells of pods, decoded into the few fields that matter.

The client's own models cost many times as much to make, and the recorder runs beside what it
observes.
"""

import re
from typing import Literal

import msgspec

from oracle.events import PodEvent, TaskInstanceKey

OWNER_LABEL = "airflow-worker"
"""The label that names the scheduler (its job's id) to which a worker pod belongs."""

RELEASE_LABEL = "release"
"""The label by which the official chart's pod template says of which release a worker pod is."""

_ROW_ANNOTATION = "task_instance_id"
"""Where newer providers write the id of the task instance's row."""

_ROW_IN_ARGUMENT = re.compile(rb"""\\"id\\": ?\\"([0-9a-f-]{36})\\\"""")
"""The same in the workload, JSON in a JSON string, that every provider gives the container: it is
the first "id" there."""


class _Terminated(msgspec.Struct, rename="camel"):
    exit_code: int = 0
    reason: str | None = None


class _Waiting(msgspec.Struct):
    reason: str | None = None


class _State(msgspec.Struct):
    terminated: _Terminated | None = None
    waiting: _Waiting | None = None


class _Container(msgspec.Struct):
    name: str = ""
    state: _State = msgspec.field(default_factory=_State)


class _Status(msgspec.Struct, rename="camel"):
    phase: str = "Pending"
    reason: str | None = None
    container_statuses: list[_Container] | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class Pod(msgspec.Struct):
    """One pod."""

    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    status: _Status = msgspec.field(default_factory=_Status)
    spec: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class PodList(msgspec.Struct):
    """The answer to a list: pods, and in its metadata the version that a watch goes on from."""

    metadata: _Metadata
    items: list[Pod] = []


class Change(msgspec.Struct):
    """A line of a watch; `object` is a pod, or a `Failure` if the type is ERROR."""

    type: str
    object: msgspec.Raw


class Failure(msgspec.Struct):
    """Why the API ends a watch: `code` is an HTTP status."""

    code: int = 0
    message: str = ""


decode_pod = msgspec.json.Decoder(Pod).decode
decode_pods = msgspec.json.Decoder(PodList).decode
decode_change = msgspec.json.Decoder(Change).decode
decode_failure = msgspec.json.Decoder(Failure).decode


def task_of(pod: Pod) -> tuple[TaskInstanceKey | None, int | None]:
    """Return whose pod it is, and its try.

    The annotations hold the names as they are; labels, taken where an annotation is missing, may
    hold a shortened form with a checksum.
    """
    named = {**(pod.metadata.labels or {}), **(pod.metadata.annotations or {})}
    try:
        key = TaskInstanceKey(
            named["dag_id"], named["run_id"], named["task_id"], int(named.get("map_index", -1))
        )
        return key, int(named["try_number"])
    except (KeyError, ValueError):
        return None, None


def release_of(pod: Pod) -> str:
    """Return the chart's release that a pod says it is of; empty where it does not say."""
    return (pod.metadata.labels or {}).get(RELEASE_LABEL, "")


def row_of(pod: Pod) -> str | None:
    """Return the id of the row of `task_instance` that a worker pod was made for."""
    if named := (pod.metadata.annotations or {}).get(_ROW_ANNOTATION):
        return named
    found = _ROW_IN_ARGUMENT.search(bytes(pod.spec))
    return found[1].decode() if found else None


def pod_event(t: float, op: Literal["added", "modified", "deleted"], pod: Pod) -> PodEvent:
    """Turn what the API tells of a pod into an event.

    The worker's container is called `base`; sidecars stand beside it in any order, native ones and
    what prepares it among the init containers, which are not looked at.
    """
    key, try_number = task_of(pod)
    containers = pod.status.container_statuses or []
    base = next((c for c in containers if c.name == "base"), containers[0] if containers else None)
    state = base.state if base else _State()
    told = state.terminated or state.waiting
    deleting = pod.metadata.deletion_timestamp is not None
    return PodEvent(
        t=t,
        op=op,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        ti=key,
        try_number=try_number,
        phase=pod.status.phase,
        exit_code=state.terminated.exit_code if state.terminated else None,
        reason="Terminating" if deleting else pod.status.reason or (told.reason if told else None),
        owner=(pod.metadata.labels or {}).get(OWNER_LABEL),
        deleting=deleting,
    )
