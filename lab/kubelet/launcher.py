"""The kubelet's side of the fork server: containers as processes, cold or forked."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from common.errors import UserError
from common.spawn import adopt_orphans, signal_all
from lab import forkserver
from lab.kubelet.kubelet import ContainerStartError
from lab.kubelet.pods import ContainerCommand

_LOG = logging.getLogger(__name__)
_END_SECONDS = 5

# Imported before the first fork: what a worker of Airflow 3.0 to 3.3 was seen to import after
# its start, in either of its two processes, until nothing was left but the DAG file itself.
# A release lacks some of them, but never the first. kubernetes.client is what 3.0's secrets
# masker imports in each worker, 0.2 s of CPU.
WORKER_MODULES = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.secrets.execution_api",
    "airflow.sdk.execution_time.macros",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.log",
    "airflow.sdk._shared.logging.factory",
    "airflow.sdk._shared.logging.remote",
    "airflow.sdk._shared.logging.structlog",
    "airflow.executors.base_executor",
    "airflow.executors.workloads",
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.dagbag",
    "airflow.listeners.spec.importerrors",
    "airflow.listeners.spec.taskinstance",
    "airflow.models.dagbag",
    "airflow.providers.standard.operators.python",
    "airflow.serialization.serialized_objects",
    "airflow.timetables.trigger",
    "airflow.version",
    "encodings.idna",
    "httpcore",
    "jinja2.ext",
    "kubernetes.client",
    "psycopg2.extras",
    "setproctitle",
)
# Read while Python or Airflow start, before a fork could set them.
_READ_AT_START = ("AIRFLOW", "PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_")


class _Message(msgspec.Struct):
    id: str = ""
    pid: int = 0
    error: str = ""
    exit: int | None = None
    cpu: float = 0.0
    ready: bool = False
    modules: int = 0
    skipped: list[str] = []


@dataclass
class ProcessContainer:
    """A container that is a process group; see `kubelet.Container`."""

    uid: str
    launcher: "Launcher"
    started: asyncio.Future[None] = field(default_factory=asyncio.Future)
    exited: asyncio.Future[int] = field(default_factory=asyncio.Future)

    async def wait(self) -> int:
        """Return the exit code once the container ended."""
        return await self.exited

    def signal(self, number: int) -> None:
        """Signal the container's process group."""
        if not self.exited.done():
            self.launcher.send({"id": self.uid, "signal": number})


class Launcher:
    """Owns one fork server; see `kubelet.Runtime`.

    With `preload` a container `python -m MODULE ..` is a fork of it; every other container, and
    every one without `preload`, is a cold process. So is one that sets a variable which is read
    at start (AIRFLOW*, PYTHON*, locale) differently: a fork could not obey it.
    """

    def __init__(self, python: Path, work: Path, env: dict[str, str], preload: Sequence[str]):
        self._python = python
        self._work = work
        self._env = env
        self._preload = preload
        self._running: dict[str, ProcessContainer] = {}
        self._hello: asyncio.Future[_Message] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._warned = False
        self._server: asyncio.subprocess.Process
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None]

    async def open(self) -> None:
        """Start the fork server and wait until it has preloaded.

        Raises UserError if it ends instead: that is not an interpreter, or Airflow does not import.
        """
        adopt_orphans()
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = await self._spawn(theirs.fileno())
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._listening = asyncio.create_task(self._listen(reader))
        hello = await self._hello
        if self._gone.is_set():
            await self.broken()
        if self._preload and self._preload[0] in hello.skipped:
            raise UserError(
                f"{self._python} has no module {self._preload[0]}.",
                "Name the interpreter of an Airflow 3 environment with --python.",
            )
        if self._preload:
            _LOG.info("The fork server has %d modules imported.", hello.modules)

    async def _spawn(self, descriptor: int) -> asyncio.subprocess.Process:
        if not os.access(self._python, os.X_OK) or self._python.is_dir():
            raise UserError(f"{self._python} cannot be executed.", "Name a Python with --python.")
        python = self._python if self._preload else sys.executable
        return await asyncio.create_subprocess_exec(
            *forkserver.command_line(python, descriptor, self._preload),
            pass_fds=[descriptor],
            cwd=self._work,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # what imports print is not an answer of the kubelet's
        )

    async def start(self, command: ContainerCommand) -> ProcessContainer:
        """Start a container; raises ContainerStartError if its command cannot be executed."""
        container = self._running[command.uid] = ProcessContainer(command.uid, self)
        fork = self._can_fork(command)
        words = command.argv
        if words[0] == "python":
            words = [str(self._python), *words[1:]]
        request = {"id": command.uid, "argv": words, "env": command.env, "fork": fork}
        self.send(request | {"cwd": str(self._work), "log": str(command.log)})
        await container.started
        return container

    def send(self, request: dict[str, object]) -> None:
        """Send the fork server a request; `broken` ends when it is gone."""
        assert self._writer is not None, "opened first"
        self._writer.write(msgspec.json.encode(request) + b"\n")

    async def broken(self) -> None:
        """Wait for the fork server's end, and raise UserError: its containers died with it."""
        await self._gone.wait()
        assert self._writer is not None, "opened first"
        self._writer.close()
        code = await self._server.wait()
        _kill_descendants()
        raise UserError(
            f"The fork server of {self._python} ended with exit code {code}.",
            "The lines above say why; without --mode fork nothing is imported ahead.",
        )

    async def close(self) -> None:
        """Close the socket, at which the fork server kills all containers and ends."""
        if self._writer is None:
            return
        self._writer.close()
        try:
            await asyncio.wait_for(self._server.wait(), _END_SECONDS)
        except TimeoutError:
            self._server.kill()
        _kill_descendants()

    def _can_fork(self, command: ContainerCommand) -> bool:
        words = command.argv
        if not self._preload or len(words) < 3 or words[:2] != ["python", "-m"]:
            return False
        for name, value in command.env.items():
            if name.startswith(_READ_AT_START) and self._env.get(name) != value:
                self._warn_cold(command, name)
                return False
        return True

    def _warn_cold(self, command: ContainerCommand, name: str) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning(
                "Pod %s sets %s unlike the kubelet's own environment, so it and those like it "
                "start cold (seconds of CPU each).",
                command.pod,
                name,
            )

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        decode = msgspec.json.Decoder(_Message).decode
        try:
            while line := await reader.readline():
                self._hear(decode(line))
        finally:
            self._gone.set()
            self._greet(_Message())

    def _hear(self, message: _Message) -> None:
        if message.ready:
            self._greet(message)
            return
        container = self._running[message.id]
        if message.exit is not None:
            del self._running[message.id]
            # A shell's way to say that a signal ended it, and Kubernetes'.
            container.exited.set_result(message.exit if message.exit >= 0 else 128 - message.exit)
            _LOG.debug("Container %s used %.3f s of CPU.", message.id, message.cpu)
        elif message.error:
            del self._running[message.id]
            container.started.set_exception(ContainerStartError(message.error))
        else:
            container.started.set_result(None)

    def _greet(self, hello: _Message) -> None:
        if not self._hello.done():
            self._hello.set_result(hello)


def environment(mode: str) -> dict[str, str]:
    """Return the containers' environment: this process' own.

    KubernetesExecutor marks its pods with a variable that Airflow 3.0 and 3.1 read when imported;
    a fork server that serves such pods must have it too.
    """
    if mode == "fork":
        return {**os.environ, "AIRFLOW_IS_K8S_EXECUTOR_POD": "True"}
    return dict(os.environ)


def _kill_descendants() -> None:
    """Kill what outlived a fork server that was killed: this process adopted the orphans."""
    signal_all(psutil.Process().children(recursive=True), signal.SIGKILL)
