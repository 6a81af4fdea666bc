"""What clients read: lists, pages of lists, and the whole object or its metadata alone."""

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from lab.kubeapi import status
from lab.kubeapi.selectors import Selector
from lab.kubeapi.store import Record, Resource, Store

# A client that pages has this many newer page requests of others before its own are forgotten.
_KEPT_PAGES = 100


class _Metadata(msgspec.Struct):
    metadata: msgspec.Raw


@dataclass(frozen=True)
class View:
    """How one request wants its objects: whole, or as PartialObjectMetadata.

    The executor lists pods as PartialObjectMetadataList when it adopts them.
    """

    resource: Resource
    partial: bool

    def encoded(self, record: Record) -> bytes:
        """Return the object as JSON."""
        if not self.partial:
            return record.body
        metadata = msgspec.json.decode(record.body, type=_Metadata).metadata
        head = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'
        return head + bytes(metadata) + b"}"

    def listing(self, records: Iterable[Record], metadata: dict[str, object]) -> bytes:
        """Return a list object; its items leave out kind and apiVersion, as Kubernetes does."""
        kind, version = f"{self.resource.kind}List", "v1"
        if self.partial:
            kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
            items = [self.encoded(record) for record in records]
        else:
            skipped = len(self.resource.head())
            items = [b"{" + record.body[skipped:] for record in records]
        head = f'{{"kind":"{kind}","apiVersion":"{version}","metadata":'.encode()
        return b'%s%s,"items":[%s]}' % (head, msgspec.json.encode(metadata), b",".join(items))

    def event(self, kind: str, record: Record) -> bytes:
        """Return one line of a watch."""
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), self.encoded(record))

    def bookmark(self, revision: int) -> bytes:
        """Return the line by which a watcher knows how far it has come."""
        return (
            b'{"type":"BOOKMARK","object":{"kind":"%s","apiVersion":"v1",'
            b'"metadata":{"resourceVersion":"%d","creationTimestamp":null}}}\n'
            % (self.resource.kind.encode(), revision)
        )


def view_for(resource: Resource, accept: str) -> View:
    """Choose the view by a request's Accept header, whose first clause is taken at its word."""
    return View(resource, "as=PartialObjectMetadata" in accept.split(",", 1)[0])


@dataclass
class Lister:
    """Answers list requests; the rest of a paged list is kept, so that pages form one snapshot."""

    store: Store
    _rests: OrderedDict[str, tuple[int, list[Record]]] = field(default_factory=OrderedDict)

    def page(
        self, view: View, namespace: str | None, selector: Selector, limit: int, token: str
    ) -> bytes:
        """Return a list, or its next page; raises ApiError 410 if the token's rest is gone."""
        if token:
            if token not in self._rests:
                raise status.expired("The provided continue parameter is too old")
            revision, records = self._rests[token]
        else:
            revision = self.store.revision
            records = [
                record
                for record in self.store.records(view.resource, namespace)
                if selector.matches(record.labels, record.fields)
            ]
        metadata: dict[str, object] = {"resourceVersion": str(revision)}
        if 0 < limit < len(records):
            metadata["continue"] = self._keep(revision, records[limit:])
            metadata["remainingItemCount"] = len(records) - limit
            records = records[:limit]
        return view.listing(records, metadata)

    def _keep(self, revision: int, rest: list[Record]) -> str:
        token = secrets.token_urlsafe(12)
        self._rests[token] = (revision, rest)
        if len(self._rests) > _KEPT_PAGES:
            self._rests.popitem(last=False)
        return token
