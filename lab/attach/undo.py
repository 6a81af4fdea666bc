"""Undoes what a lab did in a deployment that is not ours: `python -m lab.attach.undo FOLDER WHAT`.

`clear` takes the recorder and the gates out of the database, `resume POD` lets a frozen process go
on. The folder tells all else; no password is on a command line. Works with and without the lab's
supervisor, whose port-forward may be gone.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lab.attach.database import DSN_VARIABLE, Database, Way
from lab.errors import LabError
from lab.kube import execs
from lab.kube.client import api_client
from lab.kube.portforward import PortForward
from lab.spec import LabState

_REMOVALS = (("chaos", "remove"), ("oracle", "remove-audit"))
_TIMEOUT = 25.0


def clear(directory: Path) -> int:
    """Run what removes us from the database, each whether or not the other works."""
    with _database(directory) as conninfo:
        env = {**os.environ, DSN_VARIABLE: conninfo}
        codes = [
            subprocess.run([sys.executable, "-m", *argv], env=env, timeout=_TIMEOUT).returncode
            for argv in _REMOVALS
        ]
    return max(codes)


def resume(directory: Path, pod: str) -> int:
    """Send SIGCONT to a pod's processes."""
    namespace = _state(directory).endpoints["namespace"]
    client = api_client(directory / "kubeconfig")
    execs.signal_all(client, namespace, pod, None, signal.SIGCONT)
    return 0


def _state(directory: Path) -> LabState:
    state = LabState.load(directory)
    if state is None or "database" not in state.endpoints:
        raise LabError(f"{directory} tells of no database.")
    return state


@contextmanager
def _database(directory: Path) -> Iterator[str]:
    """Lend conninfo that works now: through the lab's own port-forward, or one of ours."""
    endpoints = _state(directory).endpoints
    database, way = _parts(endpoints)
    conninfo = database.conninfo(endpoints["postgres"])
    if not way.selector or _answers(conninfo):
        yield conninfo
        return
    client = api_client(directory / "kubeconfig")
    forward = PortForward(client, way.namespace, way.selector, way.port)
    try:
        yield database.conninfo(forward.start())
    finally:
        forward.stop()


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
    except (LabError, OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
