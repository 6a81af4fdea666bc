"""The process that owns a lab: boots it, answers for it, and takes it down.

Run as `python -m lab.supervisor DIRECTORY`, where `spec.json` says what is wanted. It lives in a
session of its own, so that a Ctrl-C at a test run does not reach it, and ends by itself when the
process that owns the lab is gone: a SIGKILL of pytest leaves nothing.
"""

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil

from common.errors import UserError
from common.spawn import adopt_orphans, is_same_process
from lab.cluster.boot import AttachBoot
from lab.control import ControlServer
from lab.embedded.boot import EmbeddedBoot
from lab.kind.boot import DeployBoot
from lab.spec import LabSpec, LabState
from lab.undo import Undo

log = logging.getLogger(__name__)


class Boot(Protocol):
    """How a kind of lab comes up and goes, and what it can be told meanwhile."""

    def steps(self) -> Iterator[None]:
        """Bring the lab up, yielding often; UserError when a part fails."""
        ...

    def answer(self, request: dict[str, Any]) -> None:
        """Serve a control request of this kind of lab; UserError where it knows none such."""
        ...

    def reap(self) -> None:
        """Look after what has ended."""
        ...

    def stop(self) -> None:
        """Take down all that was brought up."""
        ...


BOOTS: dict[str, Callable[[Path, LabSpec, LabState], Boot]] = {
    "embedded": EmbeddedBoot,
    "kind": DeployBoot,
    "cluster": AttachBoot,
}


class Supervisor:
    """One lab's owner. `owner` is (pid, birth) of whom the lab dies with; None for nobody."""

    def __init__(self, directory: Path, spec: LabSpec, owner: tuple[int, float] | None) -> None:
        self.directory = directory
        self.owner = owner
        self.state = LabState(supervisor=os.getpid(), created=psutil.Process().create_time())
        self.boot = BOOTS[spec.kind](directory, spec, self.state)
        self.undo = Undo(directory)
        self.done = False

    def run(self) -> None:
        """Boot the lab, serve until told to stop or the owner is gone, and clean up."""
        self.state.save(self.directory)
        server = ControlServer(self.directory, self.answer)
        try:
            for _ in self.boot.steps():
                self._serve_once(server)
                if self.done:
                    return
            while not self.done:
                self._serve_once(server)
        except UserError as error:
            self._fail(error)
        finally:
            server.server_close()
            self.shut_down()

    def _serve_once(self, server: ControlServer) -> None:
        server.handle_request()
        self.boot.reap()
        if self.owner and not is_same_process(*self.owner):
            log.info("The owner of this lab is gone; taking it down")
            self.done = True

    def _fail(self, error: UserError) -> None:
        self.state.phase, self.state.error, self.state.hint = "failed", error.message, error.hint
        self.state.save(self.directory)

    def shut_down(self) -> None:
        """End all processes; remove what is of no use to anyone (the logs go with the owner)."""
        self.undo.run()
        self.boot.stop()
        shutil.rmtree(self.directory / "pg", ignore_errors=True)
        if self.state.phase != "failed":
            self.state.phase = "stopped"
            self.state.save(self.directory)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Serve one control request: {"op": ..., ...}."""
        operation = request["op"]
        if operation == "stop":
            self.done = True
        elif operation == "detach":
            self.owner = None
        else:
            self.boot.answer(request)
        return {"ok": True}


@contextmanager
def _terminated_by(stop: Callable[[], None]) -> Iterator[None]:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop())
    yield


def main(arguments: list[str]) -> int:
    """Run the supervisor of the lab in `arguments[0]`."""
    directory = Path(arguments[0])
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    request = json.loads((directory / "spec.json").read_text())
    owner = tuple(request["owner"]) if request["owner"] else None
    adopt_orphans()
    supervisor = Supervisor(directory, LabSpec.from_json(request["spec"]), owner)
    with _terminated_by(lambda: setattr(supervisor, "done", True)):
        supervisor.run()
    return 1 if supervisor.state.phase == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
