"""What is done to which requests of workers, and to whom it was done."""

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec
import psycopg

from lab.workerproxy.requests import Asked

_NAMES = """
SELECT dag_id, task_id, coalesce(row ->> 'map_index', row ->> 'region_index')::integer
FROM (SELECT dag_id, task_id, to_jsonb(ti) AS row FROM task_instance AS ti WHERE id = %s) AS found
"""
_KEPT = 10_000
_LONGEST = 3600.0

Outcome = Literal["pass", "drop", "answer"]
"""What becomes of who waited: it goes on, its connection is closed, or we answer 500."""


class RequestRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to the requests that fit.

    hold     it waits until the rule ends, or until it is passed
    delay    it waits for `seconds`
    drop     the worker's connection is closed, and the API server hears nothing
    lose     the API server has answered, and the worker's connection is closed
    answer   we answer `status` in the API server's place

    It waits `before` the API server gets the request, or `after` that, with the answer in hand.
    `request`, `state` and `of` are patterns with `*` and `?`; `of` fits a task's id, or DAG.TASK,
    or one of a mapped task, TASK[0]. With `count`, only so many requests are struck.
    """

    do: Literal["hold", "delay", "drop", "lose", "answer"]
    request: str = "*"
    state: str = "*"
    of: str = "*"
    when: Literal["before", "after"] = "before"
    seconds: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST)] = 0.0
    status: Annotated[int, msgspec.Meta(ge=500, le=599)] = 503
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def fits(self, asked: Asked) -> bool:
        """Tell whether the request is meant, whatever its task is called."""
        return fnmatchcase(asked.request, self.request) and (
            self.state == "*" or fnmatchcase(asked.state or "", self.state)
        )


class LiveRule:
    """A rule in force."""

    def __init__(self, rule: RequestRule) -> None:
        self.rule = rule
        self.struck = 0
        self.ended = asyncio.Event()
        self._held: dict[int, tuple[Asked, float, asyncio.Future[Outcome]]] = {}

    @property
    def spent(self) -> bool:
        """Whether it has struck as many as it was to strike."""
        return self.rule.count is not None and self.struck >= self.rule.count

    async def stand(self, asked: Asked, when: str) -> Outcome:
        """Have a request wait here, if that is what is done to it now; return what follows."""
        if self.rule.do not in ("hold", "delay") or self.rule.when != when or self.ended.is_set():
            return "pass"
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._held[asked.number] = asked, time.time(), outcome
        limit = self.rule.seconds if self.rule.do == "delay" else None
        try:
            async with asyncio.timeout(limit):
                return await outcome
        except TimeoutError:
            return "pass"
        finally:
            del self._held[asked.number]

    def let_go(self, outcome: Outcome = "pass", before: float | None = None) -> int:
        """Let go who waits now, or of these who came `before` then (unix seconds); count them."""
        gone = [
            end
            for _, since, end in self._held.values()
            if not end.done() and (before is None or since <= before)
        ]
        for end in gone:
            end.set_result(outcome)
        return len(gone)

    def end(self) -> None:
        """Let go on who waits, and be over."""
        self.ended.set()
        self.let_go()

    def report(self) -> dict[str, Any]:
        """Return how many were struck, and who waits now; `since` in unix seconds."""
        held = [
            {"ti": asked.ti, "request": asked.request, "state": asked.state, "host": asked.host}
            | {"since": since}
            for asked, since, end in self._held.values()
            if not end.done()
        ]
        return {"struck": self.struck, "held": held}


class Names:
    """What task instances are called, by their rows' ids; the database is asked once for each."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._known: dict[str, tuple[str, ...]] = {}

    async def of(self, ti: str) -> tuple[str, ...]:
        """Return the names of a row's task instance; none where it is not there, or not known."""
        if ti not in self._known:
            try:
                found = await self._ask(ti)
            except psycopg.Error as error:
                print(f"workerproxy: no name of {ti}: {error}", file=sys.stderr, flush=True)
                return ()
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[ti] = found
        return self._known[ti]

    async def _ask(self, ti: str) -> tuple[str, ...]:
        async with await psycopg.AsyncConnection.connect(self._dsn) as connection:
            row = await (await connection.execute(_NAMES, (ti,))).fetchone()
        if row is None:
            return ()
        dag, task, index = row
        one = () if index is None or index < 0 else (f"{task}[{index}]", f"{dag}.{task}[{index}]")
        return (task, f"{dag}.{task}", *one)


class Rules:
    """All rules in force, in the order in which they came."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._numbers = itertools.count(1)
        self.live: dict[int, LiveRule] = {}

    def add(self, rule: RequestRule) -> int:
        """Put a rule in force; return its key."""
        key = next(self._numbers)
        self.live[key] = LiveRule(rule)
        return key

    def remove(self, key: int) -> None:
        """End a rule; whoever waits for it goes on. Nothing is done where it is over."""
        if live := self.live.pop(key, None):
            live.end()

    async def struck(self, asked: Asked) -> Sequence[LiveRule]:
        """Return the rules by which a request is struck, each counting it."""
        found = []
        for live in [*self.live.values()]:
            if live.rule.fits(asked) and await self._is_of(asked, live.rule.of) and not live.spent:
                live.struck += 1
                found.append(live)
        return found

    async def _is_of(self, asked: Asked, pattern: str) -> bool:
        if pattern == "*":
            return True
        names = await self._names.of(asked.ti) if asked.ti else ()
        return any(_fits(name, pattern) for name in names)


def _fits(name: str, pattern: str) -> bool:
    """Match a name that may have brackets: they stand for themselves in a pattern of ours."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))
