"""Undoes what a lab did in a deployment that is not ours: `python -m lab.cluster.undo FOLDER WHAT`.

`clear` runs the commands that whoever puts something into the database has written down before
(`promise`), `resume POD` lets a frozen process go on, `unpause DAG` a DAG. The folder has all
else; no password is on a command line. Works with and without the lab's supervisor, whose
port-forward may be gone, and with a password that is another by now: the release's Secret, or
HA_CHAOS_DATABASE_URL, is read again.
What stays is written down as left over.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.database import DSN_VARIABLE
from common.environment import inherited
from common.errors import UserError
from common.files import write_whole
from common.paths import PROJECT
from lab.cluster.database import URL_VARIABLE, find_database, reached
from lab.cluster.discovery import discover
from lab.cluster.routes import Route
from lab.cluster.url import Database, parse_url
from lab.database import answers
from lab.kube import execs
from lab.kube.client import api_client
from lab.state import LabState
from lab.undo import Undo, forget_leftover, write_leftover

_REMOVALS = "removals.json"
_REMOVALS_OF_BEFORE = (("chaos", "remove"), ("recorder", "remove"))
"""For the folders of older versions, which wrote down `clear` and not what that means."""

_DRAINS = """
SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('dag') AND attname = 'is_draining'
"""

_TIMEOUT = 25.0
_PORT_HERE = 15432


def undo_argv(directory: Path, *what: str) -> list[str]:
    """Return the command that undoes something in a deployment, whoever runs it from wherever."""
    command = [sys.executable, "-m", "lab.cluster.undo", str(directory), *what]
    return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(PROJECT), *command]


def promise(directory: Path, removals: Sequence[Sequence[str]]) -> None:
    """Write down what takes something out of the database; call before it is put there.

    `removals` are commands of ours as they follow `python -m`; HA_CHAOS_DSN will name the database.
    """
    write_whole(directory / _REMOVALS, json.dumps(removals))
    undo, clear = Undo(directory), undo_argv(directory, "clear")
    undo.done(clear)
    undo.add(clear)


def is_promised(directory: Path) -> bool:
    """Tell whether something may still have to be taken out of the database."""
    return (directory / _REMOVALS).exists()


def keep_promise(directory: Path) -> None:
    """Strike out what was promised, once nothing of ours is in the database."""
    with suppress(FileNotFoundError):  # the folder goes with the lab
        Undo(directory).done(undo_argv(directory, "clear"))
    _forget(directory)


def stored_conninfo(directory: Path) -> str | None:
    """Return how the lab's database is reached, as its supervisor has it now; None if it has not.

    The supervisor takes over a password that was changed where the deployment has it.
    """
    state = LabState.load(directory)
    if state is None or "database" not in state.endpoints:
        return None
    return Database(**state.endpoints["database"]).conninfo(state.endpoints.get("postgres"))


def _forget(directory: Path) -> None:
    (directory / _REMOVALS).unlink(missing_ok=True)
    forget_leftover(directory.name)


def clear(directory: Path) -> int:
    """Run what removes us from the database, each whether or not the other works.

    The undo list, which may be what runs this, is not touched.
    """
    path = directory / _REMOVALS
    removals = json.loads(path.read_text()) if path.exists() else _REMOVALS_OF_BEFORE
    try:
        with _database(directory) as conninfo:
            failed = [each for each in removals if _run(each, conninfo)]
    except (UserError, OSError, psycopg.Error, subprocess.TimeoutExpired):
        _leave(directory, removals)
        raise
    if failed:
        _leave(directory, failed)
        return 1
    _forget(directory)
    return 0


def _run(removal: Sequence[str], conninfo: str) -> int:
    env = {**inherited(), DSN_VARIABLE: conninfo}
    return subprocess.run([sys.executable, "-m", *removal], env=env, timeout=_TIMEOUT).returncode


def _leave(directory: Path, removals: Sequence[Sequence[str]]) -> None:
    """Write down what is left in the database, for the end of the session."""
    database, routes = _parts(_endpoints(directory))
    here = [_PORT_HERE + n if each.selector else None for n, each in enumerate(routes)]
    first = [
        f"`kubectl port-forward -n {each.namespace} POD {port}:{each.port}`, "
        f"POD one of {each.selector}"
        for each, port in zip(routes, here, strict=True)
        if port
    ]
    where = f"{database.name} at {database.place}"
    if first:
        where += f" (first {'; '.join(first)})"
    dsn = replace(database, password="").conninfo(here)
    write_leftover(directory.name, where, dsn, [" ".join(each) for each in removals])


def resume(directory: Path, pod: str) -> int:
    """Send SIGCONT to a pod's processes."""
    client = api_client(directory / "kubeconfig")
    execs.signal_all(client, _endpoints(directory)["namespace"], pod, None, signal.SIGCONT)
    return 0


def unpause(directory: Path, dag_id: str) -> int:
    """Let a DAG go on that was paused, or drained (Airflow 3.4); 1 where there is none.

    In the database: nobody knows here how to log in to the API server.
    """
    with _database(directory) as conninfo, psycopg.connect(conninfo) as connection:
        draining = ", is_draining = false" if connection.execute(_DRAINS).fetchone() else ""
        query = f"UPDATE dag SET is_paused = false{draining} WHERE dag_id = %s"
        return 0 if connection.execute(query.encode(), [dag_id]).rowcount else 1


def _endpoints(directory: Path) -> dict[str, Any]:
    state = LabState.load(directory)
    if state is None or "database" not in state.endpoints:
        raise UserError(f"{directory} names no database.")
    return state.endpoints


@contextmanager
def _database(directory: Path) -> Iterator[str]:
    """Lend conninfo that works now: as it was, or with the URL read again, and a route to it."""
    endpoints = _endpoints(directory)
    stored, routes = _parts(endpoints)
    conninfo = stored.conninfo(endpoints["postgres"])
    if answers(conninfo):
        yield conninfo
    else:
        database = _read_again(directory, stored)
        with reached(directory / "kubeconfig", database, routes) as conninfo:
            yield conninfo


def _read_again(directory: Path, stored: Database) -> Database:
    """Return the database with the user and password of now; never another database.

    The variable may be about another deployment: this may run when that one is attached.
    """
    endpoints = _endpoints(directory)
    try:
        if url := os.environ.get(URL_VARIABLE):
            now = parse_url(url)
            found = replace(now, more=stored.more, address=stored.address)
        else:
            client = api_client(directory / "kubeconfig")
            release = discover(client, endpoints["namespace"], endpoints["release"])
            found, _ = find_database(client, release)
            found = found.placed(directory)
    except (UserError, ApiException, HTTPError) as error:
        print(f"The database's URL cannot be read again: {error}", file=sys.stderr)
        return stored
    return found if found.is_at_place_of(stored) else stored


def _parts(endpoints: dict[str, Any]) -> tuple[Database, list[Route]]:
    # Older versions had one alone, and called it so.
    routes = endpoints.get("routes") or [endpoints.get("route") or endpoints["way"]]
    return Database(**endpoints["database"]), [Route(**each) for each in routes]


def main(arguments: list[str]) -> int:
    """Undo one thing; 0 done, 1 not."""
    directory, what, *more = arguments
    try:
        if what == "unpause":
            return unpause(Path(directory), more[0])
        return resume(Path(directory), more[0]) if what == "resume" else clear(Path(directory))
    except (UserError, OSError, psycopg.Error, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
