"""Rules: what is done to chosen requests and watches, for as long as who set them is there.

A rule says to whom (a client's name), to what (a verb, pods by name or by labels) and how often.
`disturbing` does it to requests, `watches` to watches; `control` sets rules and withdraws them.
"""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, get_args

import msgspec

from lab.kubeapi import selectors
from lab.kubeapi.store import DELETED, Store, StoreEvent

Verb = Literal["create", "get", "list", "watch", "patch", "update", "delete", "deletecollection"]
VERBS: tuple[str, ...] = get_args(Verb)
"""What can be done to pods, as Kubernetes' own rules of access call it. Their status, their log and
their binding are no pods: what a kubelet reports is not asked for by these verbs."""

When = Literal["before", "after"]
WHENS: tuple[str, ...] = get_args(When)
"""Before a request is processed, or after: when only its answer is still to be sent."""

Code = Literal[403, 409, 429, 500, 503, 504]
CODES: tuple[int, ...] = get_args(Code)

LAB = "ha-chaos"
"""As whom tests, recorder and faults ask."""

KUBELET = "kubelet"

_OWN = frozenset({LAB, KUBELET})
_ENDED = frozenset({"Succeeded", "Failed"})
_REMEMBERED = 20

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
_Number = Annotated[int, msgspec.Meta(ge=1)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done (`do`), to what; all that it does not name is any.

    delay, hold, error, drop
        a request is late by `seconds`, give or take `jitter`; it waits until it is released; it
        is answered by `code`; its connection is closed without an answer. All of it `when`: before
        it is processed, so that it may not be, or after, so that only its answer is late or lost.
    close, cut, expire
        watches that are open end: in good order, with their connection, or by 410. What was there
        to watch from until then is too old. Where none is open, the next one ends.
    silence
        no watch is told anything, and none ends
    late-end
        watches are told of a pod's end, and of all that comes after it, `seconds` later
    """

    do: Literal["delay", "hold", "error", "drop", "close", "cut", "expire", "silence", "late-end"]
    client: str = "*"
    request: Verb | Literal["*"] = "*"
    pods: str = "*"
    labels: str = ""
    count: _Number | None = None
    when: When = "before"
    seconds: _Seconds = 0.0
    jitter: _Seconds = 0.0
    seed: int = 0
    code: Code = 500
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None


@dataclass(frozen=True)
class Asked:
    """A request as rules see it; `pod` is empty where it is of many."""

    client: str
    verb: str
    pod: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Waiting:
    """A request that is held; `outcome` gets what becomes of it: `go`, `error` or `drop`."""

    asked: Asked
    since: float
    outcome: "asyncio.Future[str]"

    def report(self) -> dict[str, Any]:
        """Return what is told of it, `since` when in unix seconds."""
        asked = self.asked
        return {
            "client": asked.client,
            "request": asked.verb,
            "pod": asked.pod,
            "since": self.since,
        }


class InForce:
    """A rule that is in force, and what it has done so far."""

    def __init__(self, number: int, rule: Rule, revision: int) -> None:
        self.number = number
        self.rule = rule
        self.revision = revision
        self.since = asyncio.get_running_loop().time()
        self.over = asyncio.Event()
        self.struck = 0
        self._last: deque[Asked] = deque(maxlen=_REMEMBERED)
        self._held: list[Waiting] = []
        self._selector = selectors.parse(rule.labels, "", ())
        self._random = random.Random(rule.seed)
        self._due: dict[int, float] = {}

    def strikes(self, asked: Asked) -> bool:
        """Return whether the rule is for this request of its client; it counts as struck then."""
        rule = self.rule
        if self.struck == rule.count or not self._fits(asked):
            return False
        self.struck += 1
        self._last.append(asked)
        return True

    def _fits(self, asked: Asked) -> bool:
        rule = self.rule
        return (
            rule.request in ("*", asked.verb)
            and fnmatchcase(asked.pod, rule.pods)
            and self._selector.matches(asked.labels, {})
        )

    async def sleep(self) -> None:
        """Wait as long as the rule says; no longer than it is in force."""
        seconds = self.rule.seconds + self.rule.jitter * (2 * self._random.random() - 1)
        try:
            await asyncio.wait_for(self.over.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def hold(self, asked: Asked) -> str:
        """Wait until the request is released; return what is to become of it."""
        waiting = Waiting(asked, time.time(), asyncio.get_running_loop().create_future())
        self._held.append(waiting)
        try:
            return await waiting.outcome
        finally:
            self._held.remove(waiting)

    def release(self, outcome: str) -> None:
        """Let all go on, with this outcome, that are held now."""
        for each in self._held:
            if not each.outcome.done():
                each.outcome.set_result(outcome)

    def due(self, change: StoreEvent, client: str, now: float) -> float:
        """Return when a watch of the client is told of a change, in the loop's time; 0: at once."""
        record = change.after
        if record.revision <= self.revision or not _ends_pod(change):
            return 0.0
        if record.revision not in self._due:
            told = Asked(client, "watch", record.name, record.labels)
            self._due[record.revision] = now + self.rule.seconds if self.strikes(told) else 0.0
        return self._due[record.revision]

    def report(self) -> dict[str, Any]:
        """Return what the rule did, and who is held by it, the one who came first at the front."""
        last = [[each.verb, each.pod, each.client] for each in self._last]
        held = [each.report() for each in self._held if not each.outcome.done()]
        return {"struck": self.struck, "last": last, "held": held}


def is_for(glob: str, client: str) -> bool:
    """Return whether a client is meant; the lab's own are by their full names only."""
    return glob == client or (client not in _OWN and fnmatchcase(client, glob))


def _ends_pod(change: StoreEvent) -> bool:
    if change.before is None or _has_ended(change.before.fields):
        return False
    return change.type == DELETED or _has_ended(change.after.fields)


def _has_ended(fields: Mapping[str, str]) -> bool:
    return fields.get("status.phase") in _ENDED


class Rules:
    """The rules in force, by number, in the order in which they were set."""

    def __init__(self, store: Store) -> None:
        self.in_force: dict[int, InForce] = {}
        self._store = store
        self._numbers = itertools.count(1)
        self._concerned: dict[str, bool] = {}

    def concern(self, client: str) -> bool:
        """Return whether a rule is for a client; all others are to pay nothing for it."""
        known = self._concerned.get(client)
        if known is None:
            known = any(is_for(made.rule.client, client) for made in self.in_force.values())
            self._concerned[client] = known
        return known

    def put(self, rule: Rule) -> InForce:
        """Put a rule in force; raises ApiError 400 where its labels are no selector."""
        made = InForce(next(self._numbers), rule, self._store.revision)
        self.in_force[made.number] = made
        self._changed()
        return made

    def withdraw(self, number: int) -> None:
        """End a rule; what it keeps goes on. Does nothing where there is none."""
        if made := self.in_force.pop(number, None):
            made.over.set()
            made.release("go")
            self._changed()

    def _changed(self) -> None:
        self._concerned.clear()
        self._store.wake()

    def of(self, client: str, *deeds: str) -> Iterator[InForce]:
        """Yield the rules that do one of these things to a client."""
        for made in tuple(self.in_force.values()):
            meant = made.rule.do in deeds and is_for(made.rule.client, client)
            if meant and not made.over.is_set():  # it may have ended since the one before it
                yield made
