"""Every object's newest version, and the bounded history of changes that watches read.

An object is kept as the JSON it was encoded to when it changed, once: lists and watches send
those bytes. One counter numbers all changes, as etcd's revision does, so a resource version is
also a place in the history, and a watch from the past is no different from a live one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from lab.kubeapi import status

Object = dict[str, Any]

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"

# Changes of so short a time reach all watchers together, and while there are many, of a longer one:
# wake-ups and writes, on both sides, are most of a watch's cost.
_GATHER_SECONDS = 0.02
_BUSY_SECONDS = 0.1

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object as the API's paths and errors name it."""

    plural: str
    kind: str
    namespaced: bool
    field_paths: Mapping[str, tuple[str, ...]]

    def head(self) -> bytes:
        """Return the bytes that every encoded object of this kind begins with."""
        return f'{{"kind":"{self.kind}","apiVersion":"v1",'.encode()


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one object: its JSON, and what it can be found and selected by."""

    resource: Resource
    namespace: str
    name: str
    revision: int
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    body: bytes

    def object(self) -> Object:
        """Return the object as a fresh dict, which the caller may change."""
        decoded: Object = msgspec.json.decode(self.body)
        return decoded

    def at(self, revision: int) -> "Record":
        """Return the same object with another resource version."""
        return encoded(self.resource, self.object(), revision)


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """One step of the history; `before` is what a watch compares its selector with."""

    type: str
    before: Record | None
    after: Record


def encoded(resource: Resource, obj: Object, revision: int) -> Record:
    """Make a record of an object, stamped with its resource version."""
    metadata = obj["metadata"]
    metadata["resourceVersion"] = str(revision)
    ordered = {"kind": resource.kind, "apiVersion": "v1", "metadata": metadata, **obj}
    fields = {field: _text_at(obj, path) for field, path in resource.field_paths.items()}
    return Record(
        resource,
        metadata.get("namespace", ""),
        metadata["name"],
        revision,
        metadata.get("labels", {}),
        fields,
        _encoder.encode(ordered),
    )


def _text_at(obj: Object, path: tuple[str, ...]) -> str:
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


class Store:
    """The objects, the history, and the wakers of those who wait for more of it.

    The first revision is the clock's milliseconds: after a restart, which forgets everything, a
    resource version from before is then too old, and its watcher lists again as it must.
    """

    def __init__(self, history: int) -> None:
        self.revision = time.time_ns() // 1_000_000
        self._changes: deque[StoreEvent] = deque(maxlen=history)
        self._objects: dict[str, dict[str, dict[str, Record]]] = {}
        self._wakers: set[asyncio.Event] = set()
        self._gathering: asyncio.TimerHandle | None = None
        self._woken = 0.0
        self.closed = False

    def get(self, resource: Resource, namespace: str, name: str) -> Record:
        """Return one object's newest version; raises ApiError 404."""
        found = self._shelf(resource).get(namespace, {}).get(name)
        if found is None:
            raise status.not_found(resource.plural, name)
        return found

    def records(self, resource: Resource, namespace: str | None) -> list[Record]:
        """Return all objects of a namespace, or of all of them (None), ordered by name."""
        shelf = self._shelf(resource)
        spaces = sorted(shelf) if namespace is None else [namespace]
        return [record for space in spaces for _, record in sorted(shelf.get(space, {}).items())]

    def create(self, resource: Resource, obj: Object) -> Record:
        """Keep a new object; raises ApiError 409 if its name is taken."""
        metadata = obj["metadata"]
        space = self._shelf(resource).setdefault(metadata.get("namespace", ""), {})
        if metadata["name"] in space:
            raise status.already_exists(resource.plural, metadata["name"])
        record = encoded(resource, obj, self.revision + 1)
        space[record.name] = record
        self._commit(StoreEvent(ADDED, None, record))
        return record

    def replace(self, before: Record, old: Object, obj: Object) -> Record:
        """Keep a new version; one that equals the `old`, as decoded, is no change."""
        obj["metadata"]["resourceVersion"] = str(before.revision)
        if obj == old:
            return before
        record = encoded(before.resource, obj, self.revision + 1)
        self._shelf(before.resource)[before.namespace][before.name] = record
        self._commit(StoreEvent(MODIFIED, before, record))
        return record

    def remove(self, before: Record) -> Record:
        """Forget an object; return its last version, numbered by its removal."""
        record = before.at(self.revision + 1)
        del self._shelf(before.resource)[before.namespace][before.name]
        self._commit(StoreEvent(DELETED, before, record))
        return record

    def changes_after(self, revision: int) -> Iterator[StoreEvent]:
        """Return the changes newer than a revision; raises ApiError 410 if some are forgotten."""
        behind = self.revision - revision
        if behind > len(self._changes):
            oldest = self.revision - len(self._changes)
            raise status.expired(f"too old resource version: {revision} ({oldest})")
        if behind <= 0:
            return iter(())
        return reversed(list(islice(reversed(self._changes), behind)))

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set a little after each change, until `unsubscribe` gets it."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        return waker

    def unsubscribe(self, waker: asyncio.Event) -> None:
        """Forget a waker."""
        self._wakers.discard(waker)

    def close(self) -> None:
        """Wake all subscribers for the last time, so that they end."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Have all subscribers look again."""
        self._gathering = None
        for waker in self._wakers:
            waker.set()

    def _shelf(self, resource: Resource) -> dict[str, dict[str, Record]]:
        return self._objects.setdefault(resource.plural, {})

    def _commit(self, change: StoreEvent) -> None:
        self.revision = change.after.revision
        self._changes.append(change)
        if self._wakers and self._gathering is None:
            self._gather(asyncio.get_running_loop())

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        self._woken = max(loop.time() + _GATHER_SECONDS, self._woken + _BUSY_SECONDS)
        self._gathering = loop.call_at(self._woken, self.wake)
