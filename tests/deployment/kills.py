"""`python -m tests.deployment.kills [--times 50]`: a session is killed at whatever moment.

    session --observe ... SIGKILL, at a random moment of attach, observation or removal
    next session --observe 1 ... ends by itself
    is the database as it was? is anything running, or in the cache?

The deployment is the stand-in's, with a real PostgreSQL, and rows that are played meanwhile. Every
second time it is pytest alone that is killed, as by an impatient CI; every other time all that it
started is killed with it, as when the machine goes: only the next session can clear up then.
"""

import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from common.paths import PROJECT, RUNS_VARIABLE
from common.waiting import until
from lab.embedded.postgres import Postgres
from tests.deployment.airflow import Airflow, Player, api_server
from tests.deployment.release import database, release
from tests.deployment.standin import StandIn

PHASES = ("attach", "observation", "removal")
OBSERVED = 3.0
"""Seconds that a session which is to be killed would observe."""

_TIMEOUT = 300.0
_ENDING = 20.0
_TRACES = """
    SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname IN ('oracle', 'chaos')
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'policy ' || polname FROM pg_policy
    UNION ALL SELECT 'function ' || proname FROM pg_proc
        WHERE pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL SELECT 'lock of ' || pid FROM pg_locks WHERE locktype = 'advisory'
    UNION ALL SELECT 'session ' || application_name FROM pg_stat_activity
        WHERE datname = current_database() AND application_name ~ '^(ha-chaos|chaos)'
"""


@dataclass(frozen=True)
class Killed:
    """What became of one: what was left in the database, and of anything after the next session."""

    phase: str
    moment: float
    everything: bool
    in_database: list[str]
    after: list[str]
    code: int


class Place:
    """A deployment, and the folders of the sessions that attach to it."""

    def __init__(self, folder: Path, airflow: Airflow, there: StandIn) -> None:
        self.folder = folder
        self.airflow = airflow
        self.there = there
        self._kubeconfig = there.write_kubeconfig(folder / "kubeconfig")

    def session(self, observed: float) -> "subprocess.Popen[bytes]":
        """Begin a session that observes for some seconds; its output is in the folder."""
        with (self.folder / "session.log").open("wb") as sink:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", "suites/", "-q", "-p", "no:cacheprovider"),
                    *("--lab", "cluster", "--namespace", "airflow", "--observe", f"{observed:g}"),
                ],
                cwd=PROJECT,
                env={
                    **os.environ,
                    "KUBECONFIG": str(self._kubeconfig),
                    "HA_CHAOS_CACHE": str(self.folder / "cache"),
                    RUNS_VARIABLE: str(self.folder / "runs"),
                },
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Return what the last session wrote."""
        return (self.folder / "session.log").read_text(errors="replace")

    def in_database(self) -> list[str]:
        """Return what of ours is in the database."""
        with self.airflow.connect_as_superuser() as connection:
            return [str(row[0]) for row in connection.execute(_TRACES.encode()).fetchall()]

    def found(self) -> list[str]:
        """Return what of ours is in the database, running, or in the cache."""
        cache = self.folder / "cache"
        return [
            *self.in_database(),
            *(f"lab {path.name}" for path in cache.glob("labs/*")),
            *(f"leftover {path.name}" for path in cache.glob("leftovers/[!.]*")),
            *(f"process {each}" for each in self._processes()),
        ]

    def _processes(self) -> Iterator[str]:
        """Find what works for these sessions, by the cache that is in its environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HA_CHAOS_CACHE") == str(self.folder / "cache"):
                    yield f"{process.pid} {' '.join(process.cmdline())[:120]}"


def _at_last(look: Callable[[], list[str]], timeout: float = _ENDING) -> list[str]:
    """Return what is still there, after some seconds in which it may go by itself."""
    until(lambda: not look(), timeout, interval=0.3)
    return look()


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Lend a deployment in which something happens."""
    folder = Path(tempfile.mkdtemp(prefix="ha-chaos-kills-"))
    folder.chmod(0o755)
    (folder / "cache").mkdir()
    server = Postgres(folder / "server")
    try:
        server.initialise()
        server.start()
        airflow = Airflow(server, "airflow_kills").create()
        manifests = [*release(schedulers=2, named=True, url=airflow.url()), *database()]
        with api_server() as api, StandIn(manifests) as there:
            there.lead("*", 8080, api)
            there.lead("*", 5432, airflow.port)
            player = Player(airflow, there)
            player.start()
            try:
                yield Place(folder, airflow, there)
            finally:
                player.stop()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def undisturbed(where: Place) -> dict[str, float]:
    """Run a session to its end; return how long each phase of it takes, in seconds."""
    begun = time.monotonic()
    session = where.session(OBSERVED)
    until(lambda: where.airflow.has("oracle"), _TIMEOUT, interval=0.02)
    installed = time.monotonic()
    session.wait(_TIMEOUT)
    whole = time.monotonic()
    if left := _at_last(where.found):
        raise RuntimeError(f"an undisturbed session leaves {left}: {where.output}")
    return {
        "attach": installed - begun,
        "observation": OBSERVED,
        "removal": max(0.5, whole - installed - OBSERVED),
    }


def kill(where: Place, phase: str, moment: float, *, everything: bool) -> Killed:
    """Kill a session some seconds into a phase of it, run the next, and look what is left."""
    session = where.session(OBSERVED)
    if phase != "attach":
        until(
            lambda: where.airflow.has("oracle") or session.poll() is not None,
            _TIMEOUT,
            interval=0.02,
        )
        moment += OBSERVED if phase == "removal" else 0.0
    time.sleep(moment)
    for process in _family(session.pid) if everything else [psutil.Process(session.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    session.wait(_TIMEOUT)
    in_database = _at_last(where.in_database, 1.0 if everything else _ENDING)
    code = where.session(1.0).wait(_TIMEOUT)
    after = _at_last(where.found)
    for word in ("INTERNALERROR", "Traceback"):
        if word in where.output:
            after.append(f"{word} in the next session's output: {where.output[-2000:]}")
    return Killed(phase, moment, everything, in_database, after, code)


def _family(pid: int) -> list[Any]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def kills(where: Place, times: int, seed: int) -> Iterator[Killed]:
    """Kill session after session, each phase and each way in turn."""
    dice = random.Random(seed)
    lasts = undisturbed(where)
    print("phases, s: " + ", ".join(f"{name} {lasts[name]:.1f}" for name in PHASES), flush=True)
    for number in range(times):
        phase = PHASES[number % len(PHASES)]
        everything = number // len(PHASES) % 2 == 1
        yield kill(where, phase, dice.uniform(0.0, lasts[phase]), everything=everything)


def main() -> int:
    """Kill so many, print a line each and the figures; 1 where something was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.deployment.kills", description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ended: collections.Counter[str] = collections.Counter()
    with place() as where:
        for each in kills(where, options.times, options.seed):
            whom = "everything" if each.everything else "pytest"
            ended[f"{each.phase}, {whom}"] += 1
            ended["database clean before the next session"] += not each.in_database
            ended["all clean after the next session"] += not each.after
            ended[f"next session ended with {each.code}"] += 1
            print(
                f"{whom} killed in {each.phase} at {each.moment:.2f} s: in the database "
                f"{', '.join(each.in_database) or 'nothing'}; after the next session "
                f"{', '.join(each.after) or 'nothing'}",
                flush=True,
            )
    print(*(f"{what}: {number}" for what, number in ended.items()), sep="\n")
    return 0 if ended["all clean after the next session"] == options.times else 1


if __name__ == "__main__":
    sys.exit(main())
