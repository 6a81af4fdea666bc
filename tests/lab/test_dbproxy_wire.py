"""The proxy byte by byte: what it reads it writes, in order, as late as its rules say."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from lab.embedded.postgres import free_port
from tests.lab.proxied import SSL_REQUEST, Proxy, Server, eventually, proxy_to, start_up

TICK = 0.002  # seconds that an event loop's clock may be ahead: uvloop's is in milliseconds
LATE = 0.05  # seconds that the best of five may be late on a busy machine


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def proxy(server: Server, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    with proxy_to("127.0.0.1", server.port, in_image=request.param == "asyncio") as proxy:
        yield proxy


def link(proxy: Proxy, name: str) -> socket.socket:
    """Return a client whose start-up message is sent."""
    client = socket.create_connection(proxy.address)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.settimeout(10)
    client.sendall(start_up(name))
    return client


def hung_up(client: socket.socket) -> bool:
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def test_passes_the_start_up_message_on_as_it_came(proxy: Proxy, server: Server) -> None:
    with link(proxy, "scheduler-1") as client:
        client.sendall(b"more")
        wanted = start_up("scheduler-1") + b"more"
        assert eventually(lambda: server.bytes() == wanted)
        server.connections[0].sendall(b"answer")
        assert client.recv(100) == b"answer"


def test_reads_a_start_up_message_that_comes_in_pieces(proxy: Proxy, server: Server) -> None:
    message = start_up("scheduler-1")
    with socket.create_connection(proxy.address) as client:
        for piece in (message[:3], message[3:9], message[9:-1], message[-1:]):
            client.sendall(piece)
            time.sleep(0.02)
        assert eventually(lambda: server.bytes() == message)
        assert "scheduler-1" in proxy.links()


@pytest.mark.parametrize("code", [80877103, 80877104], ids=["SSL", "GSS"])
def test_declines_encryption_and_goes_on(proxy: Proxy, server: Server, code: int) -> None:
    with socket.create_connection(proxy.address) as client:
        client.sendall(struct.pack("!ii", 8, code))
        assert client.recv(10) == b"N"
        client.sendall(SSL_REQUEST)
        assert client.recv(10) == b"N"
        client.sendall(start_up("scheduler-1"))
        assert eventually(lambda: server.bytes() == start_up("scheduler-1"))


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0\0\0\0\0"])
def test_hangs_up_on_who_does_not_speak_postgres(proxy: Proxy, server: Server, junk: bytes) -> None:
    with socket.create_connection(proxy.address) as client:
        client.settimeout(10)
        client.sendall(junk)
        assert hung_up(client)
    with link(proxy, "scheduler-1"):
        assert eventually(lambda: server.bytes() == start_up("scheduler-1"))


def test_latency_is_added_each_way_and_no_more(proxy: Proxy, server: Server) -> None:
    up, down = [], []
    with link(proxy, "scheduler-1") as client:
        assert eventually(server.bytes)
        proxy.put("scheduler-1", latency=0.2)
        for number in range(5):
            word = b"word-%d" % number
            sent = time.monotonic()
            client.sendall(word)
            assert eventually(lambda word=word: server.bytes().endswith(word))
            up.append(server.got[-1][0] - sent)
            sent = time.monotonic()
            server.connections[0].sendall(word)
            assert client.recv(100) == word
            down.append(time.monotonic() - sent)
    for times in (up, down):
        assert min(times) >= 0.2 - TICK
        assert min(times) < 0.2 + LATE


def test_pieces_in_flight_are_late_by_one_latency_and_in_order(
    proxy: Proxy, server: Server
) -> None:
    proxy.put("scheduler-1", latency=0.3, jitter=0.25, seed=4)
    pieces = [b"%04d" % number for number in range(200)]
    with link(proxy, "scheduler-1") as client:
        assert eventually(server.bytes)
        sent = time.monotonic()
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.001)
        assert eventually(lambda: server.bytes().endswith(pieces[-1]))
    assert server.bytes() == start_up("scheduler-1") + b"".join(pieces)
    assert server.got[-1][0] - sent < 2.0, "200 latencies would be 60 s"


def test_the_end_of_a_connection_comes_after_its_last_bytes(proxy: Proxy, server: Server) -> None:
    proxy.put("scheduler-1", latency=0.2)
    with link(proxy, "scheduler-1") as client:
        client.sendall(b"last")
    assert eventually(lambda: server.got and server.got[-1][1] == b"")
    assert server.bytes() == start_up("scheduler-1") + b"last"
    assert eventually(lambda: proxy.links()["scheduler-1"]["connections"] == 0)


def test_a_healed_latency_delivers_at_once_what_was_held(proxy: Proxy, server: Server) -> None:
    with link(proxy, "scheduler-1") as client:
        assert eventually(server.bytes)
        proxy.put("scheduler-1", latency=600)
        client.sendall(b"held")
        assert eventually(lambda: proxy.links()["scheduler-1"]["held_back"] == 1)
        assert not server.bytes().endswith(b"held")
        proxy.heal("scheduler-1")
        assert eventually(lambda: server.bytes().endswith(b"held"))


def test_drop_keeps_bytes_and_ends_until_healed(proxy: Proxy, server: Server) -> None:
    with link(proxy, "scheduler-1") as client, link(proxy, "scheduler-2") as other:
        assert eventually(lambda: len(server.got) == 2)
        proxy.put("scheduler-1", cut="drop")
        client.sendall(b"lost?")
        other.sendall(b"fine")
        assert eventually(lambda: b"fine" in server.bytes())
        client.close()
        time.sleep(0.2)
        assert b"lost?" not in server.bytes()
        assert proxy.links()["scheduler-1"]["connections"] == 1
        proxy.heal("scheduler-1")
        assert eventually(lambda: b"lost?" in server.bytes() and server.got[-1][1] == b"")


def test_drop_holds_new_connections_until_healed(proxy: Proxy, server: Server) -> None:
    proxy.put("scheduler-1", cut="drop")
    with link(proxy, "scheduler-1"):
        time.sleep(0.2)
        assert not server.connections
        proxy.heal()
        assert eventually(lambda: server.bytes() == start_up("scheduler-1"))


def test_reset_resets_both_ends_and_every_new_connection(proxy: Proxy, server: Server) -> None:
    with link(proxy, "scheduler-1") as client:
        assert eventually(server.bytes)
        proxy.put("scheduler-1", cut="reset")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        assert eventually(lambda: b"ConnectionResetError" in server.bytes())
    with link(proxy, "scheduler-1") as client, pytest.raises(ConnectionResetError):
        client.recv(100)
    assert len(server.connections) == 1
    assert proxy.links()["scheduler-1"]["reset"] == 2
    proxy.heal()
    with link(proxy, "scheduler-1"):
        assert eventually(lambda: len(server.connections) == 2)


@pytest.mark.parametrize("latency", [0.0, 0.2])
def test_who_reads_slowly_slows_the_sender(proxy: Proxy, server: Server, latency: float) -> None:
    proxy.put("*", latency=latency)
    with link(proxy, "scheduler-1") as client:
        assert eventually(server.bytes)
        sender = server.connections[0]
        sender.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                sent += sender.send(b"x" * 65536)
            except BlockingIOError:
                time.sleep(0.02)
        assert sent < 64 << 20, "the proxy keeps no more than a few MB for a link"
        got = 0
        while got < sent:
            got += len(client.recv(1 << 20))
        assert got == sent


def test_a_server_that_is_away_is_a_reset() -> None:
    with (
        proxy_to("127.0.0.1", free_port()) as proxy,
        link(proxy, "scheduler-1") as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(100)
