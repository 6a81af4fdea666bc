"""How others speak to a lab's supervisor: one JSON line each way over a Unix socket."""

import json
import socket
import socketserver
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import UserError

Handler = Callable[[dict[str, Any]], dict[str, Any]]


def ask(directory: Path, timeout: float = 30.0, **request: Any) -> dict[str, Any]:
    """Send one request to the supervisor of the lab in `directory` and return its answer.

    Raises UserError when no supervisor answers, or when it refuses the request.
    """
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout)
            link.connect(str(directory / "control.sock"))
            link.sendall(json.dumps(request).encode() + b"\n")
            line = link.makefile().readline()
    except OSError as error:
        raise UserError(
            f"The lab in {directory} does not answer: {error}.", "See `python -m lab status`."
        ) from error
    answer: dict[str, Any] = json.loads(line or '{"error": "it hung up"}')
    if "error" in answer:
        raise UserError(f"The lab refused {request.get('op')}: {answer['error']}.")
    return answer


class ControlServer(socketserver.UnixStreamServer):
    """Serves requests one at a time, in the thread that calls `handle_request`.

    Children must be started by the supervisor's main thread, since the kernel kills them when
    the thread that started them ends; hence no thread a connection.
    """

    def __init__(self, directory: Path, handler: Handler) -> None:
        path = directory / "control.sock"
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Request)
        path.chmod(0o600)
        self.handler = handler
        self.timeout = 0.2


class _Request(socketserver.StreamRequestHandler):
    server: ControlServer
    timeout = 5.0

    def handle(self) -> None:
        try:
            answer = self.server.handler(json.loads(self.rfile.readline()))
        except (UserError, KeyError, ValueError) as error:
            answer = {"error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")
