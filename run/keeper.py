"""Takes us out of a database that is somebody else's, whatever becomes of the run.

A password may have expired by then (a token of 15 minutes), but a session that is open goes on: so
a process keeps one connection open whose only work is the removal.

    Run --stdin: "remove" -------> this process --its session--> the database
        <--stdout: ok, or why not--
        --stdin closed (killed)--> removes, and ends

`HA_CHAOS_DSN` names the database. A lost connection is made anew, with the password as the lab's
supervisor has read it last from where the deployment has it. Where all of that fails, the commands
of `REMOVALS` are on the lab's undo list.
"""

import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psycopg

from chaos.holds import installer as holds
from common.database import DSN_VARIABLE
from common.environment import inherited
from common.errors import UserError
from common.paths import PROJECT
from common.redaction import first_line
from lab.base import Lab
from lab.cluster.database import check
from lab.cluster.lab import ClusterLab
from lab.cluster.undo import keep_promise, stored_conninfo
from lab.database import connect
from recorder import audit

log = logging.getLogger(__name__)

PING_EVERY = 20.0
"""Seconds; less than what firewalls and load balancers give an idle connection."""

REMOVALS = (("chaos", "remove"), ("recorder", "remove"))
"""What takes holds, delays and the recorder out of a database, as it follows `python -m`."""

_NEVER_IDLE = """
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
    WHERE name = 'idle_session_timeout'
"""
_PATIENCE = 10.0
_ANSWER = 25.0
_TRYING = 15.0


def try_installing(conninfo: str, where: str) -> str:
    """See that the recorder could be installed in a database; return our role in it.

    All but its triggers is tried, and rolled back: a release that it does not know, a pooler that
    shares sessions, a schema `oracle` of somebody else's are refused before anything is done.
    Raises UserError with what to do; `where` says which database that is.
    """
    role = check(conninfo, where)
    try:
        audit.rehearse(conninfo, _TRYING)
    except UserError as error:
        raise UserError(
            f"The recorder cannot be installed in {where}: {error}.", "Nothing was changed there."
        ) from error
    return role


def keep(lab: Lab) -> "Keeper | None":
    """Prepare the removal from a database that is somebody else's; None where it is the lab's own.

    Call before anything is put there.
    """
    if not isinstance(lab, ClusterLab):
        return None
    lab.undo_in_database(REMOVALS)
    return Keeper(lab.dsn(), lab.directory)


class Keeper:
    """The process that removes us; by itself when this one is killed: its stdin ends then."""

    def __init__(self, conninfo: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "run.keeper", str(directory)],
            env={**inherited(), DSN_VARIABLE: conninfo},
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def remove(self) -> str | None:
        """Have holds, delays and the recorder removed; return why they are not, None when done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("remove\n")
            self._process.stdin.flush()
        except OSError:
            return "the process that keeps a connection for it has ended"
        if not _has_more(self._process.stdout, _ANSWER):
            return f"no answer in {_ANSWER:.0f} s"
        outcome = self._process.stdout.readline().strip()
        return None if outcome == "ok" else outcome or "the process that does it has ended"

    def close(self) -> None:
        """Let it go; it removes what came since, and ends. May be called again."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_ANSWER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Removal:
    """The session, and what it removes: what that process does."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self._dsn = dsn
        self._directory = directory
        self._connection: psycopg.Connection | None = None

    def ping(self) -> None:
        """See that the session lives; open one where none does and the database lets us."""
        try:
            self._open().execute("SELECT 1")
        except (psycopg.Error, UserError) as error:
            log.debug("The connection for the removal: %s", error)

    def remove(self) -> str | None:
        """Take holds, delays and the recorder out, and off the lab's undo list.

        Returns why that failed, None when it did not.
        """
        reasons = [self._try(work) for work in (holds.remove_on, audit.remove)]
        if any(reasons):
            return "; ".join(filter(None, reasons))
        keep_promise(self._directory)
        return None

    def _try(self, work: Callable[[psycopg.Connection, float], None]) -> str | None:
        try:
            work(self._open(), _PATIENCE)
        except holds.NotOurs:
            return None
        except (psycopg.Error, UserError) as error:
            return first_line(error)
        return None

    def _open(self) -> psycopg.Connection:
        """Return the session, or a new one, which no timeout of a company's own ends when idle."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(stored_conninfo(self._directory) or self._dsn)
            self._connection.execute(_NEVER_IDLE)
        return self._connection


def _has_more(source: IO[str], timeout: float) -> bool:
    return bool(select.select([source], [], [], timeout)[0])


def main() -> int:
    """Run `python -m run.keeper FOLDER`: answer each line with a removal's outcome.

    Once more it removes when there are no more lines.
    """
    removal = _Removal(os.environ[DSN_VARIABLE], Path(sys.argv[1]))
    removal.ping()
    while True:
        if not _has_more(sys.stdin, PING_EVERY):
            removal.ping()
            continue
        asked = sys.stdin.readline()
        outcome = removal.remove()
        if not asked:
            return 0
        print(outcome or "ok", flush=True)


if __name__ == "__main__":
    sys.exit(main())
