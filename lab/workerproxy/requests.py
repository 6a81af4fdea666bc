"""What a worker asks of the execution API: which request it is, for which task instance."""

import itertools
import re
import time

import msgspec
from aiohttp import web

_OF_TASK_INSTANCE = re.compile(r"/task-instances/([0-9a-f-]{36})/([a-z-]+)")
_API = "/execution/"

_REPORTS = frozenset({"run", "state", "heartbeat"})
"""The requests whose body says something of the worker; they are small."""

_KEPT = 10_000
"""Workers whose host is remembered: it says so when it starts, not when it ends."""

_numbers = itertools.count(1)


class _Report(msgspec.Struct):
    state: str | None = None
    hostname: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request of a worker.

    `request` is the last word of its path (`run`, `state`, `heartbeat` ..) where it is about a task
    instance, else the first (`xcoms`, `variables` ..). `ti` is the id of the task instance's row,
    `state` what the worker says it is in, and `at` when it came (CLOCK_MONOTONIC, seconds).
    """

    number: int
    request: str
    ti: str
    state: str | None
    host: str | None
    at: float
    body: bytes | None = None
    """The body where it had to be read."""


class Reader:
    """Reads requests; remembers on which host a task instance's worker is."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._decode = msgspec.json.Decoder(_Report).decode

    async def read(self, request: web.BaseRequest) -> Asked:
        """Return what is asked; the body stays unread where it says nothing of the worker."""
        at, number = time.monotonic(), next(_numbers)
        found = _OF_TASK_INSTANCE.search(request.path)
        if found is None:
            first = request.path.partition(_API)[2].partition("/")[0]
            return Asked(number, first or request.path, "", None, None, at)
        ti, kind = found.groups()
        if kind not in _REPORTS:
            return Asked(number, kind, ti, None, self._hosts.get(ti), at)
        body = await request.read()
        report = self._report(body)
        host = self._remember(ti, report.hostname)
        return Asked(number, kind, ti, report.state, host, at, body)

    def _report(self, body: bytes) -> _Report:
        try:
            return self._decode(body)
        except msgspec.MsgspecError:
            return _Report()  # the API server refuses it in its own words

    def _remember(self, ti: str, host: str | None) -> str | None:
        if host is None:
            return self._hosts.get(ti)
        if len(self._hosts) >= _KEPT:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[ti] = host
        return host
