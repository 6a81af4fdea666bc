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
import socketserver
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from common.environment import forget_libpq
from common.errors import UserError
from common.files import short
from common.spawn import adopt_orphans, is_same_process, raise_file_limit
from lab.kinds import boot_of
from lab.spec import LabSpec, read_owner, read_spec
from lab.state import LabState
from lab.undo import Undo

log = logging.getLogger(__name__)

_BOOTED = object()
# Seconds to wait for a request: between two steps of a boot, and while the lab is up.
_SOON, _IDLE = 0.02, 0.2


class ControlServer(socketserver.UnixStreamServer):
    """Serves requests one at a time, one JSON line each way, in the thread of `handle_request`.

    Children must be started by the supervisor's main thread, since the kernel kills them when
    the thread that started them ends; hence no thread a connection.
    """

    def __init__(self, directory: Path, handler: Callable[[dict[str, Any]], None]) -> None:
        path = directory / "control.sock"
        path.unlink(missing_ok=True)
        with short(path) as name:
            super().__init__(name, _AskedByLine)
        path.chmod(0o600)
        self.handler = handler


class _AskedByLine(socketserver.StreamRequestHandler):
    server: ControlServer
    timeout = 5.0

    def handle(self) -> None:
        answer: dict[str, Any] = {"ok": True}
        try:
            self.server.handler(json.loads(self.rfile.readline()))
        except (UserError, KeyError, ValueError) as error:
            answer = {"error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Supervisor:
    """One lab's owner. `owner` is (pid, birth) of whom the lab dies with; None for nobody."""

    def __init__(self, directory: Path, spec: LabSpec, owner: tuple[int, float] | None) -> None:
        self.directory = directory
        self.owner = owner
        self.state = LabState(supervisor=os.getpid(), created=psutil.Process().create_time())
        self.boot = boot_of(spec.kind)(directory, spec, self.state)
        self.undo = Undo(directory)
        self._steps: Iterator[None] = iter(())
        self.done = False

    def run(self) -> None:
        """Boot the lab, serve until asked to stop or the owner is gone, and clean up."""
        self.state.save(self.directory)
        server = ControlServer(self.directory, self.answer)
        self._steps = self.boot.steps()
        try:
            while not self.done:
                booting = next(self._steps, _BOOTED) is not _BOOTED
                server.timeout = _SOON if booting else _IDLE
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

    def answer(self, request: dict[str, Any]) -> None:
        """Serve one control request, {"op": ..., ...}; UserError refuses it."""
        operation = request["op"]
        if operation == "stop":
            self.done = True
        elif operation == "detach":
            self.owner = None
        elif operation == "reboot":
            self._steps = self.boot.reboot(read_spec(self.directory))
        else:
            self.boot.answer(request)

    def end(self, *_: object) -> None:
        """Take the lab down as soon as may be; a handler of signals."""
        self.done = True


def main(arguments: list[str]) -> int:
    """Run the supervisor of the lab in `arguments[0]`."""
    directory = Path(arguments[0])
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    adopt_orphans()
    raise_file_limit()
    spec = read_spec(directory)
    forget_libpq(credentials=spec.kind == "cluster")
    supervisor = Supervisor(directory, spec, read_owner(directory))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, supervisor.end)
    supervisor.run()
    return 1 if supervisor.state.phase == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
