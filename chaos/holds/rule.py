"""One rule on what one process does at one point, and the connection that keeps it in force."""

import json

import psycopg

from chaos.holds.installer import HOLDERS, LOCK_CLASS, install
from chaos.holds.points import Point, like
from lab.database import connect, value


class Rule:
    """A rule that lives and dies with this object's connection.

    Its advisory lock is what makes it count (rules.sql): when this process is killed, the server
    drops the lock, and the rule counts for nothing from that moment. Installs the rules'
    machinery when it is missing; raises UserError when it cannot.
    """

    def __init__(self, dsn: str, process: str, point: Point) -> None:
        install(dsn, point.table, commits=point.row is not None, row=point.row or ())
        self.connection = connect(dsn)
        contents = None if point.row is None else json.dumps(point.row)
        self._match = (like(process), point.table, point.statement, contents)
        self.key: int | None = None

    def put(self, delay: float | None = None, jitter: float = 0.0, seed: int = 0) -> None:
        """Put the rule in force, in place of what this object put before.

        `delay` and `jitter` are seconds; without `delay`, the process is held. What the former
        rule held goes free, and what comes after it meets the new one: there is no moment
        without a rule.
        """
        former = self.key
        with self.connection.transaction():
            # Nobody else's key, so there is no wait for its lock.
            self.key = int(value(self.connection, "SELECT nextval('chaos.key')::integer"))
            self.connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, self.key))
            self._sweep(former)
            self.connection.execute(
                "INSERT INTO chaos.rule (key, process, relation, statement, contents,"
                " delay, jitter, seed) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (self.key, *self._match, delay, jitter, seed),
            )
        if former is not None:
            self.connection.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, former))

    def _sweep(self, former: int | None) -> None:
        """Delete the former rule, and those whose controllers died (a rule without a holder)."""
        self.connection.execute(
            "DELETE FROM chaos.rule WHERE key = %s"
            f" OR key NOT IN (SELECT objid::bigint FROM ({HOLDERS}) AS holder)",
            (former,),
        )

    def withdraw(self) -> str:
        """End the rule; return that it had ended before, where its connection was lost."""
        try:
            self.connection.execute("DELETE FROM chaos.rule WHERE key = %s", (self.key,))
        except psycopg.OperationalError:
            return "it had ended before: its connection to the database was lost"
        finally:
            self.connection.close()
        return ""
