"""Undoes what a lab did in a deployment that is not ours: `python -m lab.cluster.undo FOLDER WHAT`.

`clear` takes the recorder and the gates out of the database, `resume POD` lets a frozen process go
on. The folder tells all else; no password is on a command line. Works with and without the lab's
supervisor, whose port-forward may be gone, and with a password that is another by now: the
release's Secret, or HA_CHAOS_DATABASE_URL, is read again. What stays is written down as left over.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.database import DSN_VARIABLE
from common.errors import UserError
from lab import leftovers
from lab.cluster.boot import find_database
from lab.cluster.database import URL_VARIABLE, Database, Way, parse_url
from lab.cluster.discovery import discover
from lab.kube import execs
from lab.kube.client import api_client
from lab.kube.portforward import PortForward
from lab.spec import LabState

_REMOVALS = (("chaos", "remove"), ("oracle", "remove-audit"))
_TIMEOUT = 25.0
_PORT_HERE = 15432


def clear(directory: Path) -> int:
    """Run what removes us from the database, each whether or not the other works."""
    try:
        with _database(directory) as conninfo:
            failed = _remove(conninfo)
    except (UserError, OSError, psycopg.Error, subprocess.TimeoutExpired):
        leave(directory, [" ".join(argv) for argv in _REMOVALS])
        raise
    if failed:
        leave(directory, failed)
        return 1
    leftovers.forget(directory.name)
    return 0


def leave(directory: Path, modules: list[str]) -> None:
    """Write down what is left in the database, for the end of the session."""
    database, way = _parts(_state(directory).endpoints)
    where = f"{database.name} at {database.host}:{database.port}"
    here = None
    if way.selector:
        here = _PORT_HERE
        where += (
            f" (first `kubectl port-forward -n {way.namespace} POD {here}:{way.port}`, "
            f"POD one of -l {way.selector})"
        )
    dsn = replace(database, password="").conninfo(here)
    leftovers.tell(directory.name, leftovers.removal(directory.name, where, dsn, modules))


def _remove(conninfo: str) -> list[str]:
    """Return which removals failed."""
    env = {**os.environ, DSN_VARIABLE: conninfo}
    return [
        " ".join(argv)
        for argv in _REMOVALS
        if subprocess.run([sys.executable, "-m", *argv], env=env, timeout=_TIMEOUT).returncode
    ]


def resume(directory: Path, pod: str) -> int:
    """Send SIGCONT to a pod's processes."""
    namespace = _state(directory).endpoints["namespace"]
    client = api_client(directory / "kubeconfig")
    execs.signal_all(client, namespace, pod, None, signal.SIGCONT)
    return 0


def _state(directory: Path) -> LabState:
    state = LabState.load(directory)
    if state is None or "database" not in state.endpoints:
        raise UserError(f"{directory} tells of no database.")
    return state


@contextmanager
def _database(directory: Path) -> Iterator[str]:
    """Lend conninfo that works now: as it was, or with the URL read again, and a way to it."""
    endpoints = _state(directory).endpoints
    stored, way = _parts(endpoints)
    if _answers(stored.conninfo(endpoints["postgres"])):
        yield stored.conninfo(endpoints["postgres"])
        return
    database = _read_again(directory, stored)
    if not way.selector:
        yield database.conninfo(None)
        return
    client = api_client(directory / "kubeconfig")
    forward = PortForward(client, way.namespace, way.selector, way.port)
    try:
        yield database.conninfo(forward.start())
    finally:
        forward.stop()


def _read_again(directory: Path, stored: Database) -> Database:
    """Return the database with the user and password that are told now; never another database.

    The variable may be about another deployment: this may run when that one is attached.
    """
    endpoints = _state(directory).endpoints
    try:
        if url := os.environ.get(URL_VARIABLE):
            told = parse_url(url)
        else:
            client = api_client(directory / "kubeconfig")
            release = discover(client, endpoints["namespace"], endpoints["release"])
            told, _ = find_database(client, release)
    except (UserError, ApiException, HTTPError) as error:
        print(f"The database's URL cannot be read again: {error}", file=sys.stderr)
        return stored
    return told if told.is_at_place_of(stored) else stored


def _parts(endpoints: dict[str, dict[str, object]]) -> tuple[Database, Way]:
    stored = endpoints["database"]
    return Database(**stored), Way(**endpoints["way"])  # type: ignore[arg-type]


def _answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, connect_timeout=3).close()
    except psycopg.Error:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Undo one thing; 0 done, 1 not."""
    directory, what, *more = arguments
    try:
        return resume(Path(directory), more[0]) if what == "resume" else clear(Path(directory))
    except (UserError, OSError, psycopg.Error, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
