"""Passes bytes between a local socket and a pod's port, no faster than either takes them."""

import select
import socket
import time

from lab.kube.channels import Channels

_CHUNK = 65536
_PING_EVERY = 20.0
_SILENCE = 180.0
_LINGER = 2.0
_DATA, _ERROR = 0, 1
_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Pump:
    """Passes bytes between a local socket and a pod until either ends.

    The protocol cannot say "I have no more to send": when the client ends its half, the pod's
    answer is passed on until it has been silent for two seconds, then all is closed.
    """

    def __init__(self, client: socket.socket, channels: Channels) -> None:
        self._client = client
        self._channels = channels
        self._to_client = bytearray()
        self._headers = {_DATA: 2, _ERROR: 2}
        self._client_ended = False
        self._error = ""
        self._answered = self._passed_on = self._pinged = time.monotonic()

    def run(self) -> None:
        """Pump until the end; OSError when it is not an orderly one."""
        while not self._is_over():
            of_client, of_channels = self._poll()
            self._keep_alive()
            if of_client & _BROKEN:
                raise OSError("the client has gone")
            if not self._to_client or of_channels & _BROKEN:
                self._from_pod()
            if of_client & select.POLLIN:
                self._from_client()
            self._deliver()
            self._pass_on()
        if self._error or self._channels.broken:
            raise OSError(self._error or "the connection to the cluster broke off")

    def _poll(self) -> tuple[int, int]:
        """Wait until something can be done; return what is the matter with either side."""
        poll = select.poll()
        poll.register(self._client, self._client_events())
        if not self._channels.ended:
            poll.register(self._channels, self._channel_events())
        events = dict(poll.poll(self._wait() * 1000))
        return events.get(self._client.fileno(), 0), events.get(self._channels.fileno(), 0)

    def _is_over(self) -> bool:
        if self._channels.ended or self._error:
            return not self._to_client
        if self._channels.unsent or not self._client_ended:
            return False
        return time.monotonic() - max(self._answered, self._passed_on) > _LINGER

    def _client_events(self) -> int:
        reading = not (self._client_ended or self._channels.unsent or self._channels.ended)
        return (select.POLLIN if reading else 0) | (select.POLLOUT if self._to_client else 0)

    def _channel_events(self) -> int:
        reading, writing = not self._to_client, bool(self._channels.unsent)
        return (select.POLLIN if reading else 0) | (select.POLLOUT if writing else 0)

    def _wait(self) -> float:
        if self._channels.has_more() and not self._to_client:
            return 0.0
        return _LINGER if self._client_ended else _PING_EVERY

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if not self._to_client and now - self._channels.heard > _SILENCE:
            raise OSError(f"nothing was heard from the API server for {_SILENCE:.0f} s")
        if now - self._pinged > _PING_EVERY and not self._channels.unsent:
            self._channels.ping()
            self._pinged = now

    def _from_client(self) -> None:
        data = self._client.recv(_CHUNK)
        if data:
            self._channels.write(_DATA, data)
        else:
            self._client_ended = True
            self._passed_on = time.monotonic()

    def _from_pod(self) -> None:
        """Take what the pod sent, less the port number with which each channel begins."""
        for channel, data in self._channels.read():
            self._answered = time.monotonic()
            header = self._headers.get(channel, 0)
            self._headers[channel] = max(0, header - len(data))
            if channel == _DATA:
                self._to_client += data[header:]
            elif channel == _ERROR:
                self._error += data[header:].decode(errors="replace")

    def _pass_on(self) -> None:
        if self._channels.unsent:
            self._channels.flush()
            self._passed_on = time.monotonic()

    def _deliver(self) -> None:
        if self._to_client:
            try:
                sent = self._client.send(self._to_client)
            except BlockingIOError:
                return
            del self._to_client[:sent]
