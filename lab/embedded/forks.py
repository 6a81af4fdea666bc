"""Airflow's daemons as forks of processes that have imported Airflow already.

A cold start of a daemon costs some 3 s of CPU, nearly all of it imports, and a lab has four. A fork
server imports once what its daemons need, with the settings of its lab; its forks then run the same
command, `python -m airflow scheduler`, by the same code. It outlives them, and serves the next boot
of its lab too, as long as no variable that its imports looked at has another value. What a fork has
that a cold start has not is written down in `lab.forkserver`.
"""

import json
import logging
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.spawn import spawn
from lab import forkserver
from lab.embedded.components import Component

log = logging.getLogger(__name__)

# What the imports of a fork server do with these reaches nobody: the asynchronous engine bears the
# server's name, and neither a scheduler nor a DAG processor opens a session of it.
_OWN_VALUE = frozenset({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", "PGAPPNAME"})

# The exit code of a fork whose server is gone: the kernel kills it (prctl(2), PR_SET_PDEATHSIG).
_KILLED = -9


@dataclass
class Fork:
    """A daemon that a fork server started; as much of subprocess.Popen as a lab needs."""

    pid: int
    server: "ForkServer"
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        self.server.listen()
        if self.returncode is None and self.server.gone:
            self.returncode = _KILLED
        return self.returncode


@dataclass
class ForkServer:
    """One fork server, for the daemons that need the same modules; see `lab.forkserver`."""

    name: str
    process: subprocess.Popen[bytes]
    link: socket.socket
    env: Mapping[str, str]
    read: frozenset[str] | None = None
    """Which environment variables its imports looked at; None while it imports."""

    gone: bool = False
    _count: int = 0
    _forks: dict[str, Fork] = field(default_factory=dict)
    _begun: dict[str, Fork] = field(default_factory=dict)
    """Those that nobody has taken yet: one may have ended by then."""
    _buffer: bytes = b""

    @staticmethod
    def open(component: Component, modules: Sequence[str], path: Path) -> "ForkServer":
        """Start a fork server with a component's interpreter and environment; it imports."""
        ours, theirs = socket.socketpair()
        argv = forkserver.command_line(component.argv[0], theirs.fileno(), modules)
        with theirs:
            child = spawn(
                argv, env=component.env, cwd=component.cwd, log=path, pass_fds=[theirs.fileno()]
            )
        return ForkServer(component.name, child, ours, component.env)

    @property
    def busy(self) -> bool:
        """Whether it still imports."""
        self.listen()
        return self.read is None and not self.gone

    def serves(self, component: Component) -> bool:
        """Return whether a fork would be what a cold start of the component is."""
        self.listen()
        if self.read is None or self.gone:
            return False
        changed = {
            name for name in self.read - _OWN_VALUE if self.env.get(name) != component.env.get(name)
        }
        if changed:
            log.info("%s cannot serve %s: %s changed", self.name, component.name, sorted(changed))
        return not changed

    def start(self, component: Component, path: Path) -> Fork | None:
        """Start a component as a fork that writes to `path`; None where the server is gone."""
        unset = dict.fromkeys(self.env.keys() - component.env.keys())
        self._count += 1
        number = str(self._count)
        command = {
            "id": number,
            "argv": component.argv,
            "env": {**unset, **component.env},
            "cwd": str(component.cwd),
            "log": str(path),
            "fork": True,
            "append": True,
        }
        try:
            self.link.sendall(json.dumps(command).encode() + b"\n")
        except OSError:
            self.gone = True
        while number not in self._begun and not self.gone:
            self.listen(block=True)
        return self._begun.pop(number, None)

    def listen(self, *, block: bool = False) -> None:
        """Take in what the server has said; with `block` wait for it to say something."""
        while not self.gone:
            try:
                received = self.link.recv(1 << 16, 0 if block else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            self.gone = not received
            *lines, self._buffer = (self._buffer + received).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
            if block:
                return

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("ready"):
            self.read = frozenset(message["read"])
            if message["skipped"]:
                log.info("%s has no modules %s", self.name, message["skipped"])
        elif "pid" in message:
            fork = Fork(message["pid"], self)
            self._forks[message["id"]] = self._begun[message["id"]] = fork
        elif "exit" in message:
            self._forks.pop(message["id"]).returncode = message["exit"]

    def close(self) -> None:
        """Close the socket, at which the server kills its forks and ends."""
        self.link.close()
        self.gone = True
