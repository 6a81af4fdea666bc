"""Daemons as forks: what a fork server starts is what a cold start would be, or it starts cold."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from common.spawn import end_all
from lab.embedded.components import Component
from lab.embedded.forks import Fork, ForkServer
from tests.labs import eventually

READING = """
import os
copy = dict(os.environ)
found = [name for name in os.environ if name.startswith("FS_")]
items = list(os.environ.items())
plain = os.environ.get("READ_BY_GET")
there = "READ_BY_IN" in os.environ
value = os.environ["READ"]
"""
DAEMON = """
import os, sys, time
import reading
print(sys.argv[1:], os.environ["READ"], os.environ.get("GONE"), os.environ["OWN"], flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(7)
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "reading.py").write_text(READING)
    (tmp_path / "daemon.py").write_text(DAEMON)
    return tmp_path


def daemon(work: Path, seconds: float, **changes: str) -> Component:
    env = {"PATH": os.defpath, "PYTHONUNBUFFERED": "1", "READ": "r", "OWN": "o", **changes}
    return Component("daemon", [sys.executable, "-m", "daemon", str(seconds)], env, work, "any")


@pytest.fixture
def opened(work: Path) -> Iterator[Callable[..., ForkServer]]:
    servers = []

    def open_server(*modules: str, **changes: str) -> ForkServer:
        component = replace(daemon(work, 0, GONE="g", **changes), name="server")
        server = ForkServer.open(component, modules or ("reading",), work / "server.log")
        servers.append(server)
        assert eventually(lambda: not server.busy)
        return server

    yield open_server
    for server in servers:
        server.close()
    end_all([server.process.pid for server in servers], grace=1.0)


def started(server: ForkServer, component: Component, log: Path) -> Fork:
    fork = server.start(component, log)
    assert fork is not None
    return fork


def test_a_server_knows_what_its_imports_read_by_name(opened: Callable[..., ForkServer]) -> None:
    server = opened()
    assert server.read is not None
    assert {"READ", "READ_BY_GET", "READ_BY_IN"} <= server.read
    assert not {"OWN", "GONE", "PATH"} & server.read, "a copy of all is no look at one"


def test_it_serves_who_agrees_on_what_was_read(
    opened: Callable[..., ForkServer], work: Path
) -> None:
    server = opened()
    assert server.serves(daemon(work, 1, OWN="another"))
    assert not server.serves(daemon(work, 1, READ="another"))
    assert not server.serves(daemon(work, 1, READ_BY_IN=""))


def test_a_fork_has_the_environment_of_a_cold_start_and_its_log_goes_on(
    opened: Callable[..., ForkServer], work: Path
) -> None:
    server, log = opened(), work / "daemon.log"
    log.write_text("earlier\n")
    fork = started(server, daemon(work, 0, OWN="mine"), log)
    assert eventually(lambda: fork.poll() is not None)
    assert log.read_text() == "earlier\n['0'] r None mine\n"
    assert fork.returncode == 7


def test_a_fork_that_a_signal_ends_says_which(
    opened: Callable[..., ForkServer], work: Path
) -> None:
    fork = started(opened(), daemon(work, 60), work / "daemon.log")
    assert fork.poll() is None
    assert eventually(lambda: os.getsid(fork.pid) == fork.pid), "it leads its session"
    os.kill(fork.pid, signal.SIGSEGV)
    assert eventually(lambda: fork.poll() == -signal.SIGSEGV)


def test_a_fork_that_has_ended_when_it_is_heard_of_is_told(
    opened: Callable[..., ForkServer], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = opened()
    listen = server.listen

    def late(*, block: bool = False) -> None:
        time.sleep(0.5)  # its beginning and its end come together
        listen(block=block)

    monkeypatch.setattr(server, "listen", late)
    fork = started(server, replace(daemon(work, 0), cwd=work / "nowhere"), work / "daemon.log")
    assert eventually(lambda: fork.poll() is not None)


def test_forks_end_with_their_server(opened: Callable[..., ForkServer], work: Path) -> None:
    server = opened()
    fork = started(server, daemon(work, 60), work / "daemon.log")
    server.process.kill()
    assert eventually(lambda: fork.poll() == -signal.SIGKILL)
    assert eventually(lambda: not psutil.pid_exists(fork.pid))
    assert server.start(daemon(work, 60), work / "daemon.log") is None


def test_a_server_that_cannot_import_is_gone_and_serves_nobody(
    work: Path, opened: Callable[..., ForkServer]
) -> None:
    (work / "broken.py").write_text("raise RuntimeError('no')")
    server = opened("broken")
    assert server.gone
    assert not server.serves(daemon(work, 1))
    assert "RuntimeError: no" in (work / "server.log").read_text()


def test_a_module_that_a_release_lacks_is_left_out(opened: Callable[..., ForkServer]) -> None:
    assert opened("reading", "no.such.module").read


def test_closing_a_server_ends_its_forks(opened: Callable[..., ForkServer], work: Path) -> None:
    server = opened()
    fork = started(server, daemon(work, 60), work / "daemon.log")
    server.close()
    begun = time.monotonic()
    assert eventually(lambda: not psutil.pid_exists(fork.pid), 5)
    assert server.process.wait(20) == 0
    assert time.monotonic() - begun < 40
