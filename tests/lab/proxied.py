"""A `lab.dbproxy` of a test's own, and links through it, to a PostgreSQL or byte by byte."""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import requests
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Proxy:
    """A running proxy, and what a test asks of its control."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, str]) -> None:
        self.process = process
        self.control = said["control"]
        host, _, port = said["listen"].rpartition(":")
        self.address = host, int(port)

    def put(self, pattern: str, **fields: Any) -> requests.Response:
        return requests.put(f"{self.control}/rules/{quote(pattern)}", json=fields, timeout=5)

    def heal(self, pattern: str = "") -> None:
        requests.delete(f"{self.control}/rules/{pattern}".rstrip("/"), timeout=5).raise_for_status()

    def links(self) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(f"{self.control}/links", timeout=5).json()
        return answer

    def connect(self, dsn: str, name: str, **more: Any) -> psycopg.Connection:
        through = make_conninfo(dsn, host=self.address[0], port=self.address[1])
        return psycopg.connect(through, application_name=name, autocommit=True, **more)


AS_IN_AIRFLOWS_IMAGE = """
import runpy, sys
sys.modules["uvloop"] = None
runpy.run_module("lab.dbproxy", run_name="__main__", alter_sys=True)
"""


@contextmanager
def proxy_to(host: str, port: int, *, in_image: bool = False) -> Iterator[Proxy]:
    """Run a proxy in front of an address, here or as in Airflow's image: without uvloop."""
    program = ["-c", AS_IN_AIRFLOWS_IMAGE] if in_image else ["-m", "lab.dbproxy"]
    argv = [sys.executable, *program, "--upstream", f"{host}:{port}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Proxy(process, json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def proxy_to_database(dsn: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server that a conninfo names."""
    place = conninfo_to_dict(dsn)
    with proxy_to(str(place["host"]), int(str(place["port"]))) as proxy:
        yield proxy


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    """A proxy in front of the test's own database."""
    with proxy_to_database(dsn) as proxy:
        yield proxy


def round_trip(connection: psycopg.Connection) -> float:
    """Return how many seconds a statement of no work takes."""
    begun = time.monotonic()
    connection.execute("SELECT 1")
    return time.monotonic() - begun


def start_up(name: str) -> bytes:
    """Return PostgreSQL's start-up message for an application_name."""
    body = f"user\0someone\0application_name\0{name}\0\0".encode()
    return struct.pack("!ii", 8 + len(body), 196608) + body


class Server:
    """A server that keeps what it gets, each piece with its time, and sends what it is told."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.got: list[tuple[float, bytes]] = []
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.got.append((time.monotonic(), data))
            self.got.append((time.monotonic(), b""))
        except OSError as error:
            self.got.append((time.monotonic(), repr(error).encode()))

    def bytes(self) -> bytes:
        """Return all that has come, over all connections."""
        return b"".join(data for _, data in list(self.got))

    def close(self) -> None:
        for one in (self._listener, *self.connections):
            one.close()


def eventually(wanted: Any, timeout: float = 40.0) -> bool:
    """Wait until `wanted()` is true, at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not wanted():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
