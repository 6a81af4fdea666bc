"""Keeps one connection to a database open whose only work is to take us out of it at the end.

A password may have expired by then (a token of 15 minutes), but a session that is open goes on.

    supervisor --stdin: "remove" -------> this process --its session--> the database
               <--stdout: ok, or why not--
               --stdin closed (killed)--> removes, and ends

`HA_CHAOS_DSN` names the database. A lost connection is made anew while the password still works.
"""

import logging
import os
import select
import sys
import time
from collections.abc import Callable
from typing import TextIO

import psycopg

from chaos.holds import installer as statement
from common.errors import UserError
from common.redaction import first_line
from lab.database import connect
from recorder import audit

log = logging.getLogger(__name__)

PING_EVERY = 20.0
"""Seconds; less than what firewalls and load balancers give an idle connection."""

_PATIENCE = 10.0


class Keeper:
    """The session, and what it removes."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection | None = None

    def ping(self) -> None:
        """See that the session lives; open one where none does and the database lets us."""
        try:
            self._open().execute("SELECT 1")
        except (psycopg.Error, UserError) as error:
            log.debug("The connection for the removal: %s", error)

    def remove(self) -> str | None:
        """Take holds, delays and the recorder out; return why that failed, None when it did not."""
        failures = [self._try(work) for work in (statement.remove_on, audit.remove_on)]
        return "; ".join(each for each in failures if each) or None

    def _try(self, work: Callable[[psycopg.Connection, float], None]) -> str | None:
        try:
            work(self._open(), _PATIENCE)
        except statement.NotOurs:
            return None
        except (psycopg.Error, UserError, audit.AuditError) as error:
            return first_line(error)
        return None

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn)
        return self._connection


def serve(keeper: Keeper, source: TextIO, sink: TextIO, every: float = PING_EVERY) -> None:
    """Answer each line of `source` with a removal's outcome; remove once more when it ends."""
    keeper.ping()
    pinged = time.monotonic()
    while True:
        ready, _, _ = select.select([source], [], [], max(0.0, pinged + every - time.monotonic()))
        if not ready:
            keeper.ping()
            pinged = time.monotonic()
            continue
        asked = source.readline()
        outcome = keeper.remove()
        if not asked:
            return
        print(outcome or "ok", file=sink, flush=True)


def main() -> int:
    """Run `python -m run.keeper`."""
    serve(Keeper(os.environ["HA_CHAOS_DSN"]), sys.stdin, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
