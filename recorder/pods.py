"""Follows Airflow's worker pods by list and watch, and tells what changed about them.

A watch that breaks off is taken up where it was, and loses nothing. If the API has forgotten that
place (410 Gone) the pods are listed and compared with what is known: none stays unnoticed that is
there then, but one that came and went in between would be, so that is reported as a gap.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from kubernetes.client.exceptions import ApiException
from msgspec import structs
from urllib3.exceptions import HTTPError

from common.redaction import first_line
from oracle.events import PodEvent, TaskInstanceKey
from recorder.stream import DatabaseClock, RecorderError, Stream

SELECTOR = "kubernetes_executor=True"
"""The label that KubernetesExecutor puts on every pod it makes (its pod_generator.py)."""

_OWNER_LABEL = "airflow-worker"
"""The label that names the scheduler (its job's id) to which a worker pod belongs."""

_RELEASE_LABEL = "release"
"""The label by which the official chart's pod template says of which release a worker pod is."""

_ROW_ANNOTATION = "task_instance_id"
"""Where newer providers write the id of the task instance's row."""

_ROW_IN_ARGUMENT = re.compile(rb"""\\"id\\": ?\\"([0-9a-f-]{36})\\\"""")
"""The same in the workload, JSON in a JSON string, that every provider gives the container: it is
the first "id" there."""

_WATCH_SECONDS = 60
_TIMEOUT = (5.0, _WATCH_SECONDS + 15.0)
_GONE = 410
_LOST = (HTTPError, OSError, ApiException, msgspec.DecodeError)


# What the API tells of pods, decoded into the few fields that matter: the client's own models cost
# many times as much to make, and the recorder runs beside what it observes.


class _Terminated(msgspec.Struct, rename="camel"):
    exit_code: int = 0
    reason: str | None = None


class _Waiting(msgspec.Struct):
    reason: str | None = None


class _ContainerState(msgspec.Struct):
    terminated: _Terminated | None = None
    waiting: _Waiting | None = None


class _ContainerStatus(msgspec.Struct):
    name: str = ""
    state: _ContainerState = msgspec.field(default_factory=_ContainerState)


class _PodStatus(msgspec.Struct, rename="camel"):
    phase: str = "Pending"
    reason: str | None = None
    container_statuses: list[_ContainerStatus] | None = None


class _ObjectMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _WorkerPod(msgspec.Struct):
    """One pod."""

    metadata: _ObjectMeta = msgspec.field(default_factory=_ObjectMeta)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)
    spec: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _WorkerPods(msgspec.Struct):
    """The answer to a list: pods, and in its metadata the version that a watch goes on from."""

    metadata: _ObjectMeta
    items: list[_WorkerPod] = []


class _WatchLine(msgspec.Struct):
    """A line of a watch; `object` is a pod, or a `_Failure` if the type is ERROR."""

    type: str
    object: msgspec.Raw


class _Failure(msgspec.Struct):
    """Why the API ends a watch: `code` is an HTTP status."""

    code: int = 0
    message: str = ""


_decode_pod = msgspec.json.Decoder(_WorkerPod).decode
_decode_pods = msgspec.json.Decoder(_WorkerPods).decode
_decode_change = msgspec.json.Decoder(_WatchLine).decode
_decode_failure = msgspec.json.Decoder(_Failure).decode


@dataclass(frozen=True)
class Sharing:
    """With whom the lab's worker pods share their namespace.

    A pod that is labelled with another `release` than this one is another Airflow's. Where there
    is another one (`others`, or such a pod was seen), a pod without that label is the lab's if
    `has_row` finds the row that it was made for in the lab's database.
    """

    release: str = ""
    others: bool = False
    has_row: Callable[[str], bool] = lambda _: True


ALONE = Sharing()
"""No other Airflow is in the namespace."""


class PodReader:
    """Emits an event for each pod that comes, changes in what matters, or goes.

    `ended` is called once for each pod whose worker ended, or which was deleted before it did: a
    sidecar may keep a pod running long after.
    """

    def __init__(
        self,
        core_v1: Any,
        namespace: str,
        clock: DatabaseClock,
        stream: Stream,
        ended: Callable[[PodEvent], None],
        sharing: Sharing = ALONE,
    ) -> None:
        self._core_v1 = core_v1
        self._namespace = namespace
        self._clock = clock
        self._stream = stream
        self._ended = ended
        self._sharing = sharing
        self._shared = sharing.others
        self._strangers: set[str] = set()
        self._known: dict[str, PodEvent] = {}
        self._version = ""
        self._response: Any = None
        self._failures = 0

    def open(self) -> None:
        """List the pods that are there already: they are known, and tell nothing until they change.

        Raises RecorderError.
        """
        try:
            for pod in self._list():
                self._known[pod.metadata.uid] = _pod_event(0.0, "added", pod)
        except _LOST as error:
            raise RecorderError(f"pods cannot be listed: {_line(error)}") from error

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop`; a watch that the API ends in due time is simply begun again."""
        while not stop.is_set():
            try:
                self._watch()
            except _LOST as error:
                if not stop.is_set():
                    self._lost(error)
                    stop.wait(min(0.1 * self._failures, 1.0))

    def interrupt(self) -> None:
        """Wake `run` from waiting for the API, once its `stop` is set."""
        response = self._response
        if response is not None:
            with suppress(ValueError, RuntimeError, OSError, AttributeError):
                response.shutdown()

    def alive(self) -> list[str]:
        """Return the names of the known pods whose workers have not ended; for any thread."""
        return [event.name for event in list(self._known.values()) if not event.over]

    def finish(self) -> None:
        """Compare with the pods that are there now, after `run`; if that fails, it is a gap."""
        try:
            self._compare(self._list())
        except _LOST as error:
            self._stream.gap(f"the pods could not be listed at the end: {_line(error)}")

    def _lost(self, error: Exception) -> None:
        """Prepare to go on where the watch was, or list anew if the API does not know the place."""
        self._failures += 1
        if isinstance(error, ApiException) and _forgotten(error):
            self._relist(_line(error))
        elif self._failures == 1:
            self._stream.note(f"the watch of pods broke off, and is begun again: {_line(error)}")

    def _relist(self, why: str) -> None:
        try:
            self._compare(self._list())
        except _LOST as error:
            self._stream.note(f"the pods could not be listed: {_line(error)}")
        else:
            self._stream.gap(f"pods had to be listed anew, the watch could not go on: {why}")

    def _watch(self) -> None:
        response = self._ask(
            watch=True,
            resource_version=self._version,
            timeout_seconds=_WATCH_SECONDS,
            allow_watch_bookmarks=True,
        )
        self._response = response
        try:
            self._failures = 0
            for line in _lines(response):
                self._change(line)
        finally:
            self._response = None
            response.close()

    def _change(self, line: bytes) -> None:
        change = _decode_change(line)
        if change.type == "ERROR":
            failure = _decode_failure(change.object)
            raise ApiException(status=failure.code, reason=failure.message)
        pod = _decode_pod(change.object)
        gone = change.type == "DELETED"
        if change.type != "BOOKMARK" and self._is_ours(pod):
            self._take(_pod_event(self._clock.now(), "modified", pod), gone)
        if gone:
            self._strangers.discard(pod.metadata.uid)
        self._version = pod.metadata.resource_version

    def _take(self, event: PodEvent, deleted: bool = False) -> None:
        known = self._known.get(event.uid)
        if not deleted and known is not None and _essentials(known) == _essentials(event):
            return
        if deleted:
            self._known.pop(event.uid, None)
            event = structs.replace(event, op="deleted")
        else:
            event = structs.replace(event, op="modified" if known else "added")
            self._known[event.uid] = event
        self._stream.emit([event])
        if event.over and not (known is not None and known.over):
            self._ended(event)

    def _is_ours(self, pod: _WorkerPod) -> bool:
        uid = pod.metadata.uid
        if not self._sharing.release or uid in self._known:
            return True
        if uid in self._strangers:
            return False
        if release := _release_of(pod):
            ours = release == self._sharing.release
            self._shared = self._shared or not ours
        else:
            row = _row_of(pod) if self._shared else None
            ours = row is None or self._sharing.has_row(row)
        if not ours:
            self._strangers.add(uid)
        return ours

    def _compare(self, pods: list[_WorkerPod]) -> None:
        now = self._clock.now()
        for pod in pods:
            self._take(_pod_event(now, "modified", pod))
        present = {pod.metadata.uid for pod in pods}
        for uid in [uid for uid in self._known if uid not in present]:
            self._take(structs.replace(self._known[uid], t=now), deleted=True)

    def _list(self) -> list[_WorkerPod]:
        with closing(self._ask()) as response:
            found = _decode_pods(response.data)
        self._version = found.metadata.resource_version
        present = {pod.metadata.uid for pod in found.items}
        self._strangers &= present
        return [pod for pod in found.items if self._is_ours(pod)]

    def _ask(self, **more: Any) -> Any:
        """Ask for the pods, undecoded; older clients raise for a bad status, newer ones do not."""
        response = self._core_v1.list_namespaced_pod(
            self._namespace,
            label_selector=SELECTOR,
            _preload_content=False,
            _request_timeout=_TIMEOUT,
            **more,
        )
        if response.status >= 300:
            failure = _decode_failure(response.data)
            response.close()
            raise ApiException(status=response.status, reason=failure.message)
        return response


def _forgotten(error: ApiException) -> bool:
    """Tell whether a place to watch from is too old, or, after a restore, of another time."""
    return error.status == _GONE or "too large resource version" in str(error).lower()


def _essentials(event: PodEvent) -> tuple[object, ...]:
    return event.phase, event.exit_code, event.reason, event.owner, event.deleting


def _lines(response: Any) -> Iterator[bytes]:
    """Split what a watch sends into its lines, as it comes."""
    rest = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())


def _line(error: Exception) -> str:
    if isinstance(error, ApiException):
        return f"HTTP {error.status} {error.reason}"
    return first_line(error)


def _task_of(pod: _WorkerPod) -> tuple[TaskInstanceKey | None, int | None]:
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


def _release_of(pod: _WorkerPod) -> str:
    """Return the chart's release that a pod says it is of; empty where it does not say."""
    return (pod.metadata.labels or {}).get(_RELEASE_LABEL, "")


def _row_of(pod: _WorkerPod) -> str | None:
    """Return the id of the row of `task_instance` that a worker pod was made for."""
    if named := (pod.metadata.annotations or {}).get(_ROW_ANNOTATION):
        return named
    found = _ROW_IN_ARGUMENT.search(bytes(pod.spec))
    return found[1].decode() if found else None


def _pod_event(t: float, op: Literal["added", "modified", "deleted"], pod: _WorkerPod) -> PodEvent:
    """Turn what the API tells of a pod into an event.

    The worker's container is called `base`; sidecars stand beside it in any order, native ones and
    what prepares it among the init containers, which are not looked at.
    """
    key, try_number = _task_of(pod)
    containers = pod.status.container_statuses or []
    base = next((c for c in containers if c.name == "base"), containers[0] if containers else None)
    state = base.state if base else _ContainerState()
    why = state.terminated or state.waiting
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
        reason="Terminating" if deleting else pod.status.reason or (why.reason if why else None),
        owner=(pod.metadata.labels or {}).get(_OWNER_LABEL),
        deleting=deleting,
    )
