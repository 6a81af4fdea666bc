"""The controller: lets one past at a time, the one that it is told to.

Everything is inside the metadata database (chaos/holds/rules.sql): whoever comes to a point waits
for a number's advisory lock that this controller's connection holds. When that is gone, by SIGKILL
too, everybody goes on, and the rules count for nothing.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Self

import msgspec
import psycopg

from chaos.holds.installer import LOCK_CLASS, install
from chaos.holds.points import like
from explore.points import NEVER, PROCESSES, Point, Watched, commit, statement
from explore.points import Statement as Named
from lab.database import connect

PATIENCE = 0.25
"""Seconds that who was let past has to come to rest; a statement of Airflow's takes some ms."""

GRACE = 0.003
"""Seconds outside of any transaction after which who was let past is left to itself: it holds no
lock and has no snapshot, and what it does in Python until its next point goes on beside others."""

TAKES_TURNS = ("scheduler", "triggerer")
"""Processes whose sessions take turns: another session of theirs that stands rests for the one that
was let past. Requests to an API server are at work at once, each in a session of its own."""


class Seen(msgspec.Struct, frozen=True):
    """A session as the server shows it: at a point (`ticket`), or waiting for a lock of others."""

    pid: int
    process: str
    ticket: int | None = None
    query: str | None = None
    writes: list[str] | None = None
    waits_for: list[int] | None = None


class _Answer(msgspec.Struct):
    reason: str
    waited: float
    there: list[Seen]


class Standing(msgspec.Struct, frozen=True):
    """Who stands at a point: a session of a process, in a statement, or at its commit.

    `blocks` are the processes that wait for a lock that it holds.
    """

    ticket: int
    pid: int
    process: str
    statement: Named
    blocks: tuple[str, ...] = ()

    @property
    def point(self) -> str:
        """Return the point's name."""
        return self.statement.name

    @property
    def actor(self) -> str:
        """Return who it is to a strategy: a process, or one of an API server's sessions."""
        return self.process if self.takes_turns else f"{self.process}/{self.pid}"

    @property
    def takes_turns(self) -> bool:
        """Whether all sessions of its process are one actor."""
        return self.process.startswith(TAKES_TURNS)


class Rest(msgspec.Struct, frozen=True):
    """How a step ended: why nobody is under way any more, and who stands now.

    `reason` is arrived, blocked, idle, ended or late. Where it is one of the last three, who stands
    rests on time, not on what was chosen: the step is uncontrolled. `waited` is in seconds.
    """

    reason: str
    waited: float
    standing: tuple[Standing, ...]

    @property
    def controlled(self) -> bool:
        """Whether what comes next follows from what was chosen."""
        return self.reason in ("arrived", "blocked")


class Controller:
    """Holds every process of `processes` (globs) at `points` while it is open.

    Raises UserError where the machinery of holds cannot be installed.
    """

    def __init__(
        self, dsn: str, points: Iterable[Watched], processes: Sequence[str] = PROCESSES
    ) -> None:
        self._points = tuple(points)
        if never := NEVER.intersection(each.table for each in self._points):
            raise ValueError(f"heartbeats are never held: {', '.join(never)}")
        self._processes = processes
        for each in self._points:
            install(dsn, each.table, commits=each.commits)
        self.connection = connect(dsn)
        self._statements: dict[int, Named] = {}
        self._known = 0
        self.cpu = 0.0
        """Seconds of this process' own processor time that steps took."""
        self.steps = 0

    def open(self, points: Iterable[Watched] | None = None) -> None:
        """Close the points: from now on, whoever comes to one stands there."""
        self._known = self.ask(
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM chaos.ticket"
        )
        self.ask("SELECT chaos.window(%s)::text", self._known)
        self._rule(self._points if points is None else points)

    def switch(self, points: Iterable[Point]) -> None:
        """Have other points from now on, out of those that this controller was made with.

        Who stands goes on: it may be at a point that is none any more.
        """
        self.pause()
        self.open(each for each in points if isinstance(each, Watched))

    def _rule(self, points: Iterable[Watched]) -> None:
        with self.connection.transaction():
            self.connection.execute("DELETE FROM chaos.rule WHERE explored")
            for each in points:
                for process in self._processes:
                    self._put(process, each)

    def _put(self, process: str, point: Watched) -> None:
        key = self.ask("SELECT nextval('chaos.key')::integer")
        self.ask("SELECT pg_advisory_lock(%s, %s)::text", LOCK_CLASS, key)
        self.connection.execute(
            "INSERT INTO chaos.rule (key, process, relation, statement, contents, explored)"
            " VALUES (%s, %s, %s, '%%', %s, true)",
            (key, like(process), point.table, "{}" if point.commits else None),
        )

    def step(
        self, chosen: Standing | None = None, patience: float = PATIENCE, grace: float = GRACE
    ) -> Rest:
        """Let one past, and return when it has come to rest; without one, when somebody comes."""
        began = time.thread_time()
        family = chosen.process if chosen is not None and chosen.takes_turns else None
        answer = self.ask(
            "SELECT chaos.step(%s, %s, %s, %s, %s::bigint[], %s, %s)",
            chosen.ticket if chosen else None,
            chosen.pid if chosen else None,
            family,
            self._known,
            list(self._statements),
            patience,
            grace,
        )
        rest = self._rest(msgspec.json.decode(answer, type=_Answer))
        self.steps += chosen is not None
        self.cpu += time.thread_time() - began
        return rest

    def _rest(self, answer: _Answer) -> Rest:
        stand = [each for each in answer.there if each.ticket is not None]
        blocked = tuple(each for each in answer.there if each.ticket is None)
        fresh = {}
        for each in stand:
            assert each.ticket is not None
            known = self._statements.get(each.ticket)
            named = commit(each.writes) if each.writes else statement(each.query or "")
            fresh[each.ticket] = known or named
        self._statements = fresh
        self._known = max([self._known, *fresh])
        blocks = _blocks(blocked)
        return Rest(
            answer.reason,
            answer.waited,
            tuple(
                Standing(
                    each.ticket,
                    each.pid,
                    each.process,
                    fresh[each.ticket],
                    tuple(blocks.get(each.pid, ())),
                )
                for each in stand
                if each.ticket is not None
            ),
        )

    def cancel(self, who: Standing) -> bool:
        """Have the statement that somebody stands in fail; return whether it still stood there."""
        return bool(self.ask("SELECT pg_cancel_backend(%s)", who.pid))

    def close(self) -> None:
        """Let everybody go on, and hold nobody any more."""
        try:
            self.connection.execute("DELETE FROM chaos.rule WHERE explored")
        except psycopg.OperationalError:
            pass
        finally:
            self.connection.close()

    def pause(self) -> None:
        """Let everybody go on until `open`, on the same connection."""
        self._rule(())
        self.connection.execute("SELECT pg_advisory_unlock_all()")
        self.connection.execute("SELECT set_config('chaos.window_end', '0', false)")

    def ask(self, query: str, *values: object) -> Any:
        """Return the one value that a query gives."""
        row = self.connection.execute(query.encode(), values).fetchone()
        return row[0] if row else None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()


def _blocks(blocked: Iterable[Seen]) -> dict[int, list[str]]:
    """Return who waits for each session, directly, by the session's pid."""
    found: dict[int, list[str]] = {}
    for each in blocked:
        for pid in each.waits_for or ():
            found.setdefault(pid, []).append(each.process)
    return found
