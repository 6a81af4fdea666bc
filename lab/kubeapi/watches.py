"""Watches: the history sent to a client as it grows, through the client's own selector.

A watcher is a place in the shared history and nothing else, so a slow client costs no memory,
and a frozen one (a paused scheduler) is cut off when the history has left it behind, as
kube-apiserver cuts off watchers that do not keep up. What rules do to a watch keeps what every
watch promises: its changes come in order, and none is left out.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from lab.kubeapi.rules import Asked, InForce, Rules
from lab.kubeapi.selectors import Selector
from lab.kubeapi.status import ApiError, expired
from lab.kubeapi.store import ADDED, DELETED, Record, Store, StoreEvent
from lab.kubeapi.views import View

_BOOKMARK_SECONDS = 60.0
# The loop's timers may fire so much early.
_TICK_SECONDS = 1e-4
# Without timeoutSeconds kube-apiserver ends a watch after 30 to 60 minutes.
_DEFAULT_SECONDS = 1800.0


class _Ended(Exception):
    """A rule ends the watch."""


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
    rules: Rules
    client: str
    _silenced: set[int] = field(default_factory=set, init=False)
    _told_at: float = field(default=math.inf, init=False)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream JSON lines until the time is up, the client is gone or the history lost it."""
        self._asked, self._begun = self.position, asyncio.get_running_loop().time()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        waker = self.store.subscribe()
        with contextlib.suppress(ConnectionError):
            try:
                await self._stream(request, response, waker)
            except ApiError as error:
                await response.write(b'{"type":"ERROR","object":%s}\n' % error.body())
            except _Ended:
                pass
            finally:
                self.store.unsubscribe(waker)
        return response

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, waker: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        seconds = self.seconds or _DEFAULT_SECONDS * random.uniform(1, 2)
        end = loop.time() + seconds
        bookmark_at = loop.time() + _BOOKMARK_SECONDS
        alarm = loop.call_at(end, waker.set)
        try:
            while True:
                silent = bool(self.rules.in_force) and self._obey(request)
                now = loop.time() + _TICK_SECONDS
                lines = b"" if silent else b"".join(self._news(now))
                if self.bookmarks and not silent and now >= min(bookmark_at, end):
                    lines += self.view.bookmark(self.position or 0)
                    bookmark_at = now + _BOOKMARK_SECONDS
                if lines:
                    await response.write(lines)
                if self.store.closed or (now >= end and not silent):
                    return
                due = min(bookmark_at, end) if self.bookmarks else end
                due = min(due, self._told_at)
                if alarm.when() != due and not silent:
                    alarm.cancel()
                    alarm = loop.call_at(due, waker.set)
                await waker.wait()
                waker.clear()
        finally:
            alarm.cancel()

    def _obey(self, request: web.BaseRequest) -> bool:
        """Do what the rules have for this watch; return whether it is told nothing now.

        Raises ApiError 410, or _Ended.
        """
        for rule in self.rules.of(self.client, "close", "cut", "expire"):
            if self._is_ended_by(rule):
                if rule.rule.do == "expire":
                    raise expired(f"too old resource version: {self.position} ({rule.revision})")
                if rule.rule.do == "cut" and request.transport is not None:
                    request.transport.abort()
                raise _Ended
        silencing = list(self.rules.of(self.client, "silence"))
        for rule in silencing:
            if rule.number not in self._silenced and rule.strikes(Asked(self.client, "watch")):
                self._silenced.add(rule.number)
        return any(rule.number in self._silenced for rule in silencing)

    def _is_ended_by(self, rule: InForce) -> bool:
        """Return whether a rule ends this watch: it was open, or asks for what is too old."""
        expires = rule.rule.do == "expire"
        is_old = self._asked is not None and self._asked < rule.revision
        meant = self._begun < rule.since or not rule.struck or (expires and is_old)
        return meant and rule.strikes(Asked(self.client, "watch"))

    def _news(self, now: float) -> Iterator[bytes]:
        """Yield the lines that the client has not been sent; the first time, the state itself."""
        known = self.store.revision
        self._told_at = math.inf
        if self.position is None:
            for record in self.store.records(self.view.resource, self.namespace):
                if self.selector.matches(record.labels, record.fields):
                    yield self.view.event(ADDED, record)
        else:
            late = list(self.rules.of(self.client, "late-end")) if self.rules.in_force else []
            for change in self.store.changes_after(self.position):
                line = self._line(change)
                if late and line and (due := self._due(late, change, now)):
                    known = min(known, change.after.revision - 1)
                    self._told_at = min(self._told_at, due)
                if line and known >= change.after.revision:
                    yield line
        self.position = known

    def _due(self, late: list[InForce], change: StoreEvent, now: float) -> float:
        """Return when the client is to be told of a change, in the loop's time; 0 for now."""
        due = max(rule.due(change, self.client, now) for rule in late)
        return due if due > now else 0.0

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
