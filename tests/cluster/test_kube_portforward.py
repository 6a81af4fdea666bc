"""A forwarded port is as good as a direct connection, and outlives the pods behind it."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.kube.portforward import PortForward
from tests.cluster.kube_pods import PORT, create, eventually, is_ready, server

MEGABYTES_50 = 50 << 20


@pytest.fixture(scope="module")
def pod(kubernetes_api: Any, namespace: str, image: str) -> str:
    create(kubernetes_api, namespace, server("served", image))
    eventually(lambda: is_ready(kubernetes_api, namespace, "served"))
    return "served"


@pytest.fixture
def forward(kubernetes_api: Any, namespace: str, pod: str) -> Iterator[PortForward]:
    made = PortForward(kubernetes_api.api_client, namespace, f"app={pod}", PORT)
    made.start()
    yield made
    made.stop()


def connected(forward: PortForward) -> socket.socket:
    return socket.create_connection(("127.0.0.1", forward.local_port), timeout=60)


def everything(sock: socket.socket) -> bytes:
    parts = []
    while data := sock.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def given(forward: PortForward, count: int) -> bytes:
    with connected(forward) as sock:
        sock.sendall(b"give %d\n" % count)
        return everything(sock)


def is_serving(forward: PortForward) -> bool:
    try:
        return given(forward, 1000) == hashlib.shake_128(b"x").digest(1000)
    except OSError:
        return False


def test_50_megabytes_arrive_in_the_pod_as_they_were(forward: PortForward) -> None:
    blob = hashlib.shake_128(b"y").digest(MEGABYTES_50)
    with connected(forward) as sock:
        sock.sendall(b"take %d\n" % MEGABYTES_50 + blob)
        assert everything(sock).decode() == hashlib.sha256(blob).hexdigest()


def test_50_megabytes_come_from_the_pod_to_a_slow_reader_as_they_were(
    forward: PortForward,
) -> None:
    with connected(forward) as sock:
        sock.sendall(b"give %d\n" % MEGABYTES_50)
        time.sleep(2)
        assert everything(sock) == hashlib.shake_128(b"x").digest(MEGABYTES_50)


def test_an_answer_comes_even_if_the_client_has_ended_its_half(forward: PortForward) -> None:
    with connected(forward) as sock:
        sock.sendall(b"give 1000000\n")
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == hashlib.shake_128(b"x").digest(1_000_000)


def test_twenty_connections_at_once_get_what_each_asked_for(forward: PortForward) -> None:
    counts = [100_000 + n for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda count: given(forward, count), counts))
    assert [len(each) for each in got] == counts
    whole = hashlib.shake_128(b"x").digest(max(counts))
    assert all(each == whole[: len(each)] for each in got)


def test_a_port_where_nobody_listens_closes_the_connection_and_not_the_listener(
    kubernetes_api: Any, namespace: str, pod: str
) -> None:
    forward = PortForward(kubernetes_api.api_client, namespace, f"app={pod}", PORT + 1)
    forward.start()
    for _ in range(2):
        with connected(forward) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
    forward.stop()


def test_no_pod_closes_the_connection_at_once(kubernetes_api: Any, namespace: str) -> None:
    forward = PortForward(kubernetes_api.api_client, namespace, "app=nobody", PORT)
    forward.start()
    with connected(forward) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    forward.stop()


def test_a_killed_pod_ends_its_connections_and_its_successor_gets_the_next(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    name = "replaced"
    create(kubernetes_api, namespace, server(name, image))
    eventually(lambda: is_ready(kubernetes_api, namespace, name))
    forward = PortForward(kubernetes_api.api_client, namespace, f"app={name}", PORT)
    forward.start()
    with connected(forward) as sock:
        sock.sendall(b"hang 0\n")
        assert sock.recv(5) == b"hello"
        kubernetes_api.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
        sock.settimeout(30)
        assert sock.recv(1) == b""
    successor = server(f"{name}-2", image)
    successor["metadata"]["labels"]["app"] = name
    create(kubernetes_api, namespace, successor)
    eventually(lambda: is_serving(forward))
    forward.stop()


def test_stop_ends_connections_and_threads_and_frees_the_port(
    kubernetes_api: Any, namespace: str, pod: str
) -> None:
    before = threading.active_count()
    forward = PortForward(kubernetes_api.api_client, namespace, f"app={pod}", PORT)
    port = forward.start()
    with connected(forward) as sock:
        sock.sendall(b"hang 0\n")
        assert sock.recv(5) == b"hello"
        forward.stop()
        assert sock.recv(1) == b""
    assert threading.active_count() <= before
    socket.create_server(("127.0.0.1", port)).close()
