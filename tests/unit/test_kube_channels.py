"""Kubernetes' channel protocol, byte by byte, over a socket pair."""

import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, Ping, Pong

from lab.kube.channels import Channels
from lab.kube.portforward import Pump

CLOSED = b"\x88\x02\x03\xe8"
PORT_HEADERS = b"\x82\x03\x00\x38\x15\x82\x03\x01\x38\x15"


def frame(payload: bytes, first: int = 0x82) -> bytes:
    """Return a server's frame: binary and whole, unless told otherwise."""
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return bytes([first, 126]) + len(payload).to_bytes(2, "big") + payload


def channels_on(ours: socket.socket, early: bytes = b"") -> Channels:
    """Return channels whose handshake is over; `early` came with its end."""
    connection = HTTPConnection("pair")
    connection.sock = ours
    return Channels(connection, Connection(ConnectionType.CLIENT, trailing_data=early))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Channels]]:
    ours, server = socket.socketpair()
    channels = channels_on(ours)
    yield server, channels
    server.close()
    channels.close()


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    far.setblocking(False)
    near.settimeout(10)
    yield near, far
    near.close()
    far.close()


def test_messages_come_by_channel_however_they_are_cut(
    pair: tuple[socket.socket, Channels],
) -> None:
    server, channels = pair
    long = b"\x02" + b"x" * 1000
    got: dict[int, bytes] = {}
    for byte in frame(b"\x01ab") + frame(long) + frame(b"\x01c", 0x02) + frame(b"d", 0x80):
        server.sendall(bytes([byte]))
        for channel, data in channels.read():
            got[channel] = got.get(channel, b"") + data
    assert got == {1: b"abcd", 2: b"x" * 1000}


def test_what_came_with_the_handshake_is_not_waited_for() -> None:
    ours, server = socket.socketpair()
    with ours, server:
        channels = channels_on(ours, frame(b"\x01early"))
        assert channels.has_more()
        assert list(channels.read()) == [(1, b"early")]
        assert not channels.has_more()


def test_a_ping_is_answered(pair: tuple[socket.socket, Channels]) -> None:
    server, channels = pair
    server.sendall(frame(b"abc", 0x89))
    assert list(channels.read()) == []
    channels.flush()
    answer = Connection(ConnectionType.SERVER, trailing_data=server.recv(100))
    assert list(answer.events()) == [Pong(b"abc")]


def test_a_ping_can_be_sent_while_the_stream_is_open_and_not_after(
    pair: tuple[socket.socket, Channels],
) -> None:
    server, channels = pair
    channels.ping()
    channels.flush()
    got = Connection(ConnectionType.SERVER, trailing_data=server.recv(100))
    assert list(got.events()) == [Ping(b"")]
    server.sendall(CLOSED)
    assert list(channels.read()) == []
    channels.ping()
    channels.write(0, b"late")
    assert not channels.unsent


@pytest.mark.parametrize(("size", "head"), [(5, 6), (500, 8), (70_000, 14)])
def test_what_is_written_is_one_masked_frame(
    pair: tuple[socket.socket, Channels], size: int, head: int
) -> None:
    server, channels = pair
    channels.write(0, b"y" * (size - 1))
    channels.flush()
    got = b""
    while len(got) < head + size:
        got += server.recv(1 << 20)
        channels.flush()
    assert got[0] == 0x82
    assert got[1] & 0x80
    (message,) = Connection(ConnectionType.SERVER, trailing_data=got).events()
    assert message == BytesMessage(b"\x00" + b"y" * (size - 1))


@pytest.mark.parametrize(("goodbye", "broken"), [(CLOSED, False), (b"", True)])
def test_an_end_without_a_goodbye_is_a_broken_one(
    pair: tuple[socket.socket, Channels], goodbye: bytes, broken: bool
) -> None:
    server, channels = pair
    server.sendall(goodbye)
    server.shutdown(socket.SHUT_WR)
    assert list(channels.read()) == []
    assert channels.ended
    assert channels.broken == broken


def test_what_is_no_frame_breaks_the_stream(pair: tuple[socket.socket, Channels]) -> None:
    server, channels = pair
    server.sendall(b"\xff\xff nonsense")
    assert list(channels.read()) == []
    assert channels.ended
    assert channels.broken


def test_a_pump_delivers_everything_before_it_ends(
    pair: tuple[socket.socket, Channels], client: tuple[socket.socket, socket.socket]
) -> None:
    server, channels = pair
    near, far = client
    blob = b"z" * 60_000
    sending = threading.Thread(
        target=server.sendall, args=(PORT_HEADERS + frame(b"\x00" + blob) * 20 + CLOSED,)
    )
    pumping = threading.Thread(target=Pump(far, channels).run)
    sending.start()
    pumping.start()
    got = b""
    while len(got) < 20 * len(blob):
        got += near.recv(1 << 20)
    pumping.join(40)
    sending.join(40)
    assert not pumping.is_alive()
    assert got == blob * 20


def test_a_pump_takes_no_more_than_the_pod_does(
    pair: tuple[socket.socket, Channels], client: tuple[socket.socket, socket.socket]
) -> None:
    _, channels = pair
    near, far = client
    near.settimeout(1)
    pumping = threading.Thread(target=_until_error, args=(Pump(far, channels),))
    pumping.start()
    with pytest.raises(TimeoutError):
        near.sendall(bytes(50 << 20))
    assert len(channels.unsent) < 200_000
    near.close()
    far.shutdown(socket.SHUT_RDWR)
    pumping.join(40)
    assert not pumping.is_alive()


def test_an_error_of_the_pod_is_an_error_of_the_pump(
    pair: tuple[socket.socket, Channels], client: tuple[socket.socket, socket.socket]
) -> None:
    server, channels = pair
    server.sendall(PORT_HEADERS + frame(b"\x01connection refused"))
    with pytest.raises(OSError, match="connection refused"):
        Pump(client[1], channels).run()


def test_a_pump_whose_server_vanishes_ends_in_an_error(
    pair: tuple[socket.socket, Channels], client: tuple[socket.socket, socket.socket]
) -> None:
    server, channels = pair
    server.close()
    with pytest.raises(OSError, match="broke off"):
        Pump(client[1], channels).run()


def _until_error(pump: Pump) -> None:
    with pytest.raises(OSError):
        pump.run()
