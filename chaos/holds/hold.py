"""A gate inside a statement: a process is held between its snapshot and its row locks."""

import logging
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg
from psycopg.rows import class_row

from chaos.base import Record, silent
from chaos.holds.installer import OURS, connect
from chaos.holds.rule import RUNNING_DAG_RUNS, Rule, like
from common.errors import UserError

log = logging.getLogger(__name__)

_STANDING = f"""
SELECT a.pid, a.application_name AS process, extract(epoch FROM a.query_start)::float8 AS since,
       left(a.query, 80) AS query
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE {OURS} AND NOT l.granted AND l.objid = %s
ORDER BY a.query_start
"""

_ACTIVITY = """
SELECT application_name, state, extract(epoch FROM clock_timestamp() - state_change)::float8
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %s ORDER BY state_change DESC LIMIT 3
"""


class HoldError(UserError):
    """The gate could not do what the scenario needs, so the scenario proves nothing."""


@dataclass(frozen=True)
class Standing:
    """Who stands at a gate: a server process, and when its statement began.

    `since` is unix seconds on the database's clock; the statement's snapshot is never older.
    """

    pid: int
    process: str
    since: float
    query: str


class Hold:
    """Holds each matching statement of a process after its snapshot, before its row locks.

    `process` is an application_name, in which `*` and `?` stand for any; `statement` is a LIKE
    pattern of the statement's text. The gate stands closed for as long as this object's connection
    to the database lives: a controller that dies opens it.
    """

    def __init__(
        self,
        dsn: str,
        process: str,
        *,
        statement: str = RUNNING_DAG_RUNS,
        name: str = "statement",
        record: Record | None = None,
    ) -> None:
        self.name = name
        self.process = process
        self._dsn = dsn
        self._statement = statement
        self._record = record or silent
        self._rule: Rule | None = None

    def close(self) -> None:
        """Hold every matching statement that begins from now on; does nothing when closed."""
        if self._rule is not None:
            return
        rule = Rule(self._dsn, self.process, self._statement)
        rule.put()
        self._rule = rule
        log.debug("The gate of %s is closed.", self.process)
        self._record("hold", self.name, self.process, "after the snapshot, before row locks")

    def open(self) -> None:
        """Let everyone go on; does nothing when open."""
        if self._rule is None:
            return
        rule, self._rule = self._rule, None
        detail = "" if rule.withdraw() else "it had opened itself: its connection was lost"
        log.debug("The gate of %s is open.", self.process)
        self._record("release", self.name, self.process, detail)

    def standing(self) -> list[Standing]:
        """Return who stands at the gate now, the one whose statement began first at the front.

        Raises HoldError when the gate is open, or has opened itself with its connection's loss.
        """
        rule = self._closed()
        try:
            with rule.connection.cursor(row_factory=class_row(Standing)) as cursor:
                return cursor.execute(_STANDING, (rule.key,)).fetchall()
        except psycopg.OperationalError as error:
            raise self._lost() from error

    def wait_standing(
        self, newer_than: float | None = None, timeout: float = 30.0, interval: float = 0.02
    ) -> Standing:
        """Return who stands at the gate in a statement begun after `newer_than`.

        `newer_than` is unix seconds on the database's clock: a commit at that moment is in the
        snapshot of every statement begun later. Whoever stands there in an older statement is let
        past, and only that one: the gate stays closed for the next. Polls each `interval` seconds;
        raises HoldError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = self.standing()
            for standing in found:
                if newer_than is None or standing.since > newer_than:
                    self._record("held", self.name, standing.process, f"pid {standing.pid}")
                    return standing
            if found:
                self._let_past()
            if time.monotonic() >= deadline:
                raise HoldError(
                    f"{self.process} did not come to the gate within {timeout:g} s:"
                    f" {self._activity()}.",
                    "Is it running, and is there work that makes it send that statement? One that "
                    "finds no row of dag is not held.",
                )
            time.sleep(interval)

    def _let_past(self) -> None:
        rule = self._closed()
        try:
            rule.put()
        except psycopg.OperationalError as error:
            raise self._lost() from error

    def _closed(self) -> Rule:
        if self._rule is None:
            raise HoldError(f"The gate of {self.process} is open.", "Close it first.")
        return self._rule

    def _lost(self) -> HoldError:
        return HoldError(
            f"The gate of {self.process} opened itself: its connection to the database was lost.",
            "Look at the database's log.",
        )

    def _activity(self) -> str:
        """Tell what the process' connections do, for the reader of an error."""
        with connect(self._dsn) as connection:
            rows = connection.execute(_ACTIVITY, (like(self.process),)).fetchall()
        told = [f"{name} is {state} for {seconds:.1f} s" for name, state, seconds in rows]
        return "; ".join(told) or "no connection has that application_name"

    def __enter__(self) -> Self:
        self.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open()
