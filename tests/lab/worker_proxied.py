"""A `lab.workerproxy` of a test's own, before an API server of the test's own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import requests

from common.database import DSN_VARIABLE
from common.waiting import until
from lab.base import Lab

TI = "019a0000-0000-7000-8000-000000000001"


@dataclass
class Answer:
    """What the API server answers, to the byte."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class ApiServer:
    """An API server that keeps what it is asked; `answer` may be changed at any time."""

    url: str
    answer: Answer = field(default_factory=Answer)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Serve on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            serving.asked.append((self.command, self.path, headers, body))
            answer = serving.answer
            self.send_response_only(answer.status)
            if answer.status != 204:
                self.send_header("content-length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.respond)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = ApiServer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield serving
        finally:
            server.shutdown()
            thread.join()


class WorkerProxy:
    """A running proxy, and what a worker asks through it."""

    def __init__(self, process: subprocess.Popen[str], answers: Path, said: dict[str, str]) -> None:
        self.process = process
        self.url, self.control, self.file = said["listen"], said["control"], answers
        self.lab = cast(Lab, SimpleNamespace(request_control=self.control, process=str))

    def ask(
        self, request: str, ti: str = TI, timeout: float = 10.0, **body: Any
    ) -> requests.Response:
        """Ask as a worker does; requests' own exceptions where it is not answered."""
        url = f"{self.url}/execution/task-instances/{ti}/{request}"
        with requests.Session() as session:
            session.trust_env = False
            return session.patch(url, json=body, timeout=timeout)

    def begin(self, request: str, **options: Any) -> "Asking":
        """Ask in the background."""
        return Asking(self, request, options)

    def answers(self, count: int) -> list[dict[str, Any]]:
        """Return the lines that it has written, once there are so many: they follow the answers."""
        until(lambda: len(self.file.read_text().splitlines()) >= count, 5.0, 0.01)
        return [json.loads(line) for line in self.file.read_text().splitlines()]


class Asking(threading.Thread):
    """A request that is under way; `status` once it is answered, or what went wrong."""

    def __init__(self, proxy: WorkerProxy, request: str, options: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._proxy, self._request, self._options = proxy, request, options
        self.status: int | str | None = None
        self.start()

    def run(self) -> None:
        try:
            asked = self._proxy.ask(self._request, timeout=60.0, **self._options)
            self.status = asked.status_code
        except requests.ConnectionError:
            self.status = "the connection was closed"


@contextmanager
def worker_proxy(upstream: str, folder: Path, dsn: str = "") -> Iterator[WorkerProxy]:
    """Run a proxy in front of an API server."""
    answers = folder / "answers.ndjson"
    argv = [sys.executable, "-m", "lab.workerproxy", "--upstream", upstream]
    with subprocess.Popen(
        [*argv, "--answers", str(answers)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {DSN_VARIABLE: dsn},
    ) as process:
        try:
            assert process.stdout is not None
            yield WorkerProxy(process, answers, json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(10)
