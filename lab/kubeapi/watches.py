"""Watches: the history sent to a client as it grows, through the client's own selector.

A watcher is a place in the shared history and nothing else, so a slow client costs no memory,
and a frozen one (a paused scheduler) is cut off when the history has left it behind, as
kube-apiserver cuts off watchers that do not keep up.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from lab.kubeapi.selectors import Selector
from lab.kubeapi.status import ApiError
from lab.kubeapi.store import ADDED, DELETED, Record, Store, StoreEvent
from lab.kubeapi.views import View

_BOOKMARK_SECONDS = 60.0
# The loop's timers may fire so much early.
_TICK_SECONDS = 1e-4
# Without timeoutSeconds kube-apiserver ends a watch after 30 to 60 minutes.
_DEFAULT_SECONDS = 1800.0


@dataclass
class Watch:
    """One watch request; `position` is the revision up to which its client knows everything."""

    store: Store
    view: View
    namespace: str | None
    selector: Selector
    seconds: float | None
    bookmarks: bool
    position: int | None

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream JSON lines until the time is up, the client is gone or the history lost it."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        waker = self.store.subscribe()
        with contextlib.suppress(ConnectionError):
            try:
                await self._stream(response, waker)
            except ApiError as error:
                await response.write(b'{"type":"ERROR","object":%s}\n' % error.body())
            finally:
                self.store.unsubscribe(waker)
        return response

    async def _stream(self, response: web.StreamResponse, waker: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        seconds = self.seconds or _DEFAULT_SECONDS * random.uniform(1, 2)
        end = loop.time() + seconds
        bookmark_at = loop.time() + _BOOKMARK_SECONDS
        alarm = loop.call_at(end, waker.set)
        try:
            while True:
                lines = b"".join(self._news())
                now = loop.time() + _TICK_SECONDS
                if self.bookmarks and now >= min(bookmark_at, end):
                    lines += self.view.bookmark(self.store.revision)
                    bookmark_at = now + _BOOKMARK_SECONDS
                if lines:
                    await response.write(lines)
                if now >= end or self.store.closed:
                    return
                due = min(bookmark_at, end) if self.bookmarks else end
                if alarm.when() != due:
                    alarm.cancel()
                    alarm = loop.call_at(due, waker.set)
                await waker.wait()
                waker.clear()
        finally:
            alarm.cancel()

    def _news(self) -> Iterator[bytes]:
        """Yield the lines that the client has not been sent; the first time, the state itself."""
        if self.position is None:
            for record in self.store.records(self.view.resource, self.namespace):
                if self.selector.matches(record.labels, record.fields):
                    yield self.view.event(ADDED, record)
        else:
            for change in self.store.changes_after(self.position):
                line = self._line(change)
                if line:
                    yield line
        self.position = self.store.revision

    def _line(self, change: StoreEvent) -> bytes:
        """Return a change as this watcher sees it; nothing if it does not.

        An object that a change moves out of the selector is DELETED for the watcher: its last
        selected version, with the resource version of the change. The executor relies on this
        when another scheduler adopts a pod.
        """
        record = change.after
        if record.resource is not self.view.resource:
            return b""
        if self.namespace is not None and record.namespace != self.namespace:
            return b""
        before = change.before
        was_seen = before is not None and self._selects(before)
        if change.type == DELETED:
            return self.view.event(DELETED, record) if was_seen else b""
        if self._selects(record):
            return self.view.event(change.type if was_seen else ADDED, record)
        if was_seen and before is not None:
            return self.view.event(DELETED, before.at(record.revision))
        return b""

    def _selects(self, record: Record) -> bool:
        return self.selector.matches(record.labels, record.fields)
