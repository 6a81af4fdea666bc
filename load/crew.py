"""Floods by several Locust processes: a master that keeps the books, workers that share the runs.

    Flood --> master --forks--> worker 0: runs 0, N, 2N..
                ^               worker 1: runs 1, N+1, ..
                '-- what was triggered and ended, as it happens (Locust's own connection)

Locust's `--processes` makes the workers and shares the users out. The master tells the time of
everything, so the merged journal is on one clock. A worker that is lost takes its runs along:
nobody else asks for them, and the report says so. For that, Locust knows too little of its workers:
it learns of one that ended by its silence, seconds later, goes on with the others, and waits for
ever for one that ended before the flood began.
"""

import os
from collections.abc import Callable
from typing import Any

import gevent
import psutil
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner

from common.spawn import die_with_parent
from common.waiting import until
from load.flood import WORKERS_SECONDS
from load.plan import Order
from load.tally import Tally

MESSAGE = "flood"
_POLL_SECONDS = 0.1

Tell = Callable[[dict[str, Any]], None]

_exit_codes: dict[int, int | None] = {}
"""Of the workers, by pid, in the order in which they were made; None while one is there."""


def _look_after_children() -> None:
    """Watch a child that was just made: its exit can be seen by whoever watches by then."""
    for child in psutil.Process().children():
        if child.pid not in _exit_codes:
            _exit_codes[child.pid] = None
            watcher = gevent.get_hub().loop.child(child.pid, ref=False)
            watcher.start(_note_exit, watcher)


def _note_exit(watcher: Any) -> None:
    _exit_codes[watcher.pid] = os.waitstatus_to_exitcode(watcher.rstatus)


os.register_at_fork(after_in_parent=_look_after_children, after_in_child=die_with_parent)


class WorkerTally(Tally):
    """A worker's own tally, which tells the master instead of writing a journal."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(None)
        self._tell = tell

    def found_absent(self, route: str) -> None:
        """Note that this Airflow has no such route."""
        super().found_absent(route)
        self._tell({"op": "absent", "route": route})

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
        self._size: int = environment.parsed_options.processes  # type: ignore[union-attr]
        self._left: set[str] = set()
        self._over = False

    def gather(self) -> str | None:
        """Wait until every worker is there; return what is wrong if they do not come."""
        clients = self._runner.clients
        until(lambda: self.lost() or len(clients.ready) == self._size, WORKERS_SECONDS)
        if lost := self.lost():
            return f"{lost} before the flood began"
        if (came := len(clients.ready)) < self._size:
            return f"{came} of {self._size} workers came within {WORKERS_SECONDS:g} seconds"
        return None

    def lost(self) -> str | None:
        """Say which worker is gone or out of touch; None while all are well."""
        for number, code in enumerate(_exit_codes.values(), 1):
            if code is not None:
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
        stopping = self._environment.events.test_stopping
        stopping.add_listener(cease)  # type: ignore[no-untyped-call]
        gevent.spawn(self._watch, tally)

    def _hear(self, tally: Tally, worker: str, said: dict[str, Any]) -> None:
        match said["op"]:
            case "triggered":
                tally.triggered(Order(*said["order"]))
            case "finished":
                order = Order(*said["order"])
                tally.finished(order.dag_id, order.run_id, said["state"])
            case "absent":
                tally.found_absent(said["route"])
            case "leave":
                self._left.add(worker)
                tally.error = tally.error or said["error"]
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
