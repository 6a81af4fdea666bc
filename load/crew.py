"""Floods by several Locust processes: a master that keeps the books, workers that share the runs.

    Flood --> master --spawns--> worker 0: runs 0, N, 2N..
                ^                worker 1: runs 1, N+1, ..
                '-- what was triggered and ended, as it happens (Locust's own connection)

The master tells the time of everything, so the merged journal is on one clock. A worker that is
lost takes its runs along: nobody else asks for them, and the report says so.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner

from common.spawn import die_with_parent
from load.flood import WORKERS_SECONDS
from load.plan import Order
from load.tally import Tally

MESSAGE = "flood"
_LEAVE_SECONDS = 3.0
_POLL_SECONDS = 0.1
_LOCUSTFILE = Path(__file__).resolve().parent / "locustfile.py"
_HANDED_ON = ("dags", "runs", "rate", "seed", "run_prefix", "patience", "flood_workers")

Tell = Callable[[dict[str, Any]], None]


class WorkerTally(Tally):
    """A worker's own tally, which tells the master instead of writing a journal."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(None)
        self._tell = tell

    def lacks(self, route: str) -> None:
        """Note that this Airflow has no such route."""
        super().lacks(route)
        self._tell({"op": "lacks", "route": route})

    def leave(self) -> None:
        """Tell that this worker's share is done, or why it cannot be."""
        self._tell({"op": "leave", "error": self.error})

    def _write(self, op: str, order: Order, state: str | None = None) -> None:
        self._tell({"op": op, "order": list(order), "state": state})


class Crew:
    """The workers of one flood, as their master sees them; they die with it."""

    def __init__(self, environment: Environment, runner: MasterRunner) -> None:
        self._environment = environment
        self._runner = runner
        self._size: int = environment.parsed_options.flood_workers  # type: ignore[union-attr]
        self._processes = [_start(environment, runner.server.port) for _ in range(self._size)]
        self._left: set[str] = set()
        self._over = False

    def gather(self) -> str | None:
        """Wait until every worker is there; return what is wrong if they do not come."""
        deadline = time.monotonic() + WORKERS_SECONDS
        while len(self._runner.clients.ready) < self._size:
            if lost := self.lost():
                return f"{lost} before the flood began"
            if time.monotonic() > deadline:
                came = len(self._runner.clients.ready)
                return f"{came} of {self._size} workers came within {WORKERS_SECONDS:g} seconds"
            gevent.sleep(_POLL_SECONDS)
        return None

    def lost(self) -> str | None:
        """Say which worker is gone or out of touch; None while all are well."""
        for number, process in enumerate(self._processes, 1):
            if (code := process.poll()) is not None:
                return f"worker {number} of {self._size} ended with {code}"
        if any(client.state == STATE_MISSING for client in self._runner.clients.values()):
            return f"one of {self._size} workers does not answer any more"
        return None

    def follow(self, tally: Tally) -> None:
        """Keep the books from now on, and end the flood with its last share or a lost worker."""

        def hear(msg: Any, **_: Any) -> None:
            self._hear(tally, msg.node_id, msg.data)

        def cease(**_: Any) -> None:
            self._cease(tally)

        self._runner.register_message(MESSAGE, hear)
        events = self._environment.events
        events.test_stopping.add_listener(cease)  # type: ignore[no-untyped-call]
        events.quit.add_listener(self.dismiss)  # type: ignore[no-untyped-call]
        gevent.spawn(self._watch, tally)

    def _hear(self, tally: Tally, worker: str, told: dict[str, Any]) -> None:
        match told["op"]:
            case "triggered":
                tally.triggered(Order(*told["order"]))
            case "finished":
                order = Order(*told["order"])
                tally.finished(order.dag_id, order.run_id, told["state"])
            case "lacks":
                tally.lacks(told["route"])
            case "leave":
                self._left.add(worker)
                tally.error = tally.error or told["error"]
                if tally.error or len(self._left) == self._size:
                    self._end()

    def _watch(self, tally: Tally) -> None:
        while not self._over:
            if self.lost():
                self._cease(tally)
            gevent.sleep(_POLL_SECONDS)

    def _cease(self, tally: Tally) -> None:
        """Mind the workers no more, for they leave as the flood ends; who was lost before is told.

        Locust itself stops without an end when the last worker is lost.
        """
        if not self._over:
            tally.lost = self.lost()
            if tally.lost:
                self._end()
            self._over = True

    def _end(self) -> None:
        """End the flood; from a greenlet of its own, for the runner's own end with it."""
        if not self._over:
            gevent.spawn(self._runner.quit)

    def dismiss(self, **_: Any) -> None:
        """See every worker out; who is there after a moment is killed."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        while time.monotonic() < deadline and any(p.poll() is None for p in self._processes):
            gevent.sleep(_POLL_SECONDS)
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _start(environment: Environment, port: int) -> "subprocess.Popen[bytes]":
    """Start one worker with the master's own options; it says what it says where the master does.

    Its exit code is 0 also where requests failed: they are in the report.
    """
    options: Any = environment.parsed_options
    handed = {name.replace("_", "-"): getattr(options, name) for name in _HANDED_ON}
    pairs = {"locustfile": _LOCUSTFILE, "host": environment.host, "master-port": port, **handed}
    command = [sys.executable, "-m", "locust", "--worker", "--master-host=127.0.0.1"]
    command += ["--exit-code-on-error=0", *(f"--{name}={value}" for name, value in pairs.items())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
