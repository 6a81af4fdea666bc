"""A hold: a process is kept inside a statement or at its commit, until it is let go on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import psycopg
from psycopg.rows import class_row

from chaos.base import Record, silent
from chaos.holds.installer import OURS
from chaos.holds.points import RUNNING_DAG_RUNS, Point, like
from chaos.holds.rule import Rule
from common.errors import UserError
from common.waiting import until
from lab.database import connect

log = logging.getLogger(__name__)

# The server reads sessions first, and locks after: a session that began to wait in between would be
# shown with the statement before, or with none.
_HELD = f"""
SELECT a.pid, a.application_name AS process, extract(epoch FROM a.query_start)::float8 AS since,
       left(a.query, 80) AS query
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE {OURS} AND NOT l.granted AND l.objid = %s AND a.wait_event_type = 'Lock'
ORDER BY a.query_start
"""

_ACTIVITY = """
SELECT application_name, state, extract(epoch FROM clock_timestamp() - state_change)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %s ORDER BY state_change DESC LIMIT 3
"""


class HoldError(UserError):
    """The hold could not do what the scenario needs, so the scenario proves nothing."""


@dataclass(frozen=True)
class Held:
    """Who is held: a server process, and when its statement began.

    `since` is unix seconds on the database's clock; the statement's snapshot is never older.
    """

    pid: int
    process: str
    since: float
    query: str

    @property
    def text(self) -> str:
        """Say which session of the server it is."""
        return f"backend {self.pid}"


@dataclass(eq=False)
class Hold:
    """Holds a process each time that it comes to a point.

    `process` is an application_name, in which `*` and `?` stand for any. It lasts for as long as
    this object's connection to the database lives: a controller that dies releases everybody.
    """

    dsn: str
    process: str
    point: Point = RUNNING_DAG_RUNS
    record: Record = field(default=silent, kw_only=True)
    _rule: Rule | None = field(default=None, init=False)

    def hold(self) -> None:
        """Hold whoever comes to the point from now on; does nothing when it does."""
        if self._rule is not None:
            return
        rule = Rule(self.dsn, self.process, self.point)
        rule.put()
        self._rule = rule
        log.debug("%s is to be held at %s.", self.process, self.point.name)
        self.record("hold", self.point.name, self.process, self.point.place)

    def release(self) -> None:
        """Let everyone go on, and hold nobody any more; does nothing when that is so."""
        if self._rule is None:
            return
        rule, self._rule = self._rule, None
        noted = rule.withdraw()
        log.debug("%s is released at %s.", self.process, self.point.name)
        self.record("release", self.point.name, self.process, noted)

    def held(self) -> list[Held]:
        """Return who is held now, the one whose statement began first at the front.

        Raises HoldError when the hold is released, or ended with its connection's loss.
        """
        with self._in_force() as rule, rule.connection.cursor(row_factory=class_row(Held)) as rows:
            return rows.execute(_HELD, (rule.key,)).fetchall()

    def wait_held(
        self, newer_than: float | None = None, timeout: float = 30.0, interval: float = 0.02
    ) -> Held:
        """Return who is held in a statement begun after `newer_than`.

        `newer_than` is unix seconds on the database's clock: a commit at that moment is in the
        snapshot of every statement begun later. Whoever is held in an older statement is let
        pass, and only that one: the next is held. Polls each `interval` seconds; raises HoldError
        after `timeout` seconds.
        """
        held = until(lambda: self._newer_than(newer_than), timeout, interval)
        if held is None:
            raise HoldError(
                f"{self.process} was not held within {timeout:g} s: {self._activity()}.",
                f"Is it running, and is there work that makes it {self._coming()}",
            )
        self.record("held", self.point.name, held.process, f"pid {held.pid}")
        return held

    def let_pass(self, now: float, timeout: float) -> None:
        """Let pass who is held, and wait until it is held again."""
        self.wait_held(now, timeout)

    def _newer_than(self, moment: float | None) -> Held | None:
        """Return who is held in a statement begun after a moment; let older ones pass."""
        found = self.held()
        for held in found:
            if moment is None or held.since > moment:
                return held
        if found:
            with self._in_force() as rule:
                rule.put()
        return None

    def cancel(self) -> None:
        """Have the statement of who is held fail, as statement_timeout or a person would.

        Its transaction is over; the connection stays. Raises HoldError when nobody is held.
        """
        self._end_held("cancel", "pg_cancel_backend")

    def terminate(self) -> None:
        """Have the connection of who is held closed by the server, as a failover would.

        Raises HoldError when nobody is held.
        """
        self._end_held("terminate", "pg_terminate_backend")

    def _end_held(self, op: str, function: str) -> None:
        """Strike whom this hold holds; the server looks once more that it still does.

        Materialized, for the planner would else be free to strike first, whomever, and look then.
        """
        with self._in_force() as rule:
            struck = rule.connection.execute(
                f"WITH held AS MATERIALIZED ({_HELD})"
                f" SELECT process, pid FROM held WHERE {function}(pid)".encode(),
                (rule.key,),
            ).fetchall()
        if not struck:
            raise HoldError(f"{self.process} is not held now: {self._activity()}.")
        for process, pid in struck:
            self.record(op, self.point.name, process, f"{function}, pid {pid}")

    def _coming(self) -> str:
        if self.point.row is None:
            return f"send that statement? One that finds no row of {self.point.table} is not held."
        return f"write such a row of {self.point.table}, with such a statement?"

    @contextmanager
    def _in_force(self) -> Iterator[Rule]:
        """Give the rule; HoldError where there is none, or where it ended with its connection."""
        if self._rule is None:
            raise HoldError(f"Nothing holds {self.process} now.", "Hold it first.")
        try:
            yield self._rule
        except psycopg.OperationalError as error:
            raise HoldError(
                f"{self.process} is held no longer: the connection to the database was lost.",
                "Look at the database's log.",
            ) from error

    def _activity(self) -> str:
        """Say what the process' connections do, for the reader of an error."""
        with connect(self.dsn) as connection:
            rows = connection.execute(_ACTIVITY, (like(self.process),)).fetchall()
        lines = [f"{name} is {state} for {seconds:.1f} s" for name, state, seconds in rows]
        return "; ".join(lines) or "no connection has that application_name"

    def __enter__(self) -> Self:
        self.hold()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.release()
