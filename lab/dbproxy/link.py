"""The links of `lab.dbproxy` and the rules that they obey. Standard library only.

A link is a client, the server, and a pipe each way between them.
"""

from __future__ import annotations  # Airflow's images start at Python 3.9

import asyncio
import contextlib
import fnmatch
import random
import socket
import struct
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

CANCEL, SSL, GSS = 80877102, 80877103, 80877104  # codes of PostgreSQL's pqcomm.h
START_LIMIT = 10_000  # bytes; PostgreSQL's own (MAX_STARTUP_PACKET_LENGTH)
HELD_LIMIT = 4 << 20  # bytes that a pipe holds back before it stops reading
TICK = 1e-4  # seconds that the loop's timers may fire early
RETRANSMIT = 0.2  # seconds before what was lost is sent again (Linux' TCP_RTO_MIN); then doubled
RETRANSMIT_AT_MOST = 120.0  # seconds; Linux' TCP_RTO_MAX
RETRANSMISSIONS = 15  # Linux' tcp_retries2; here the link lives on and the piece arrives
CUTS = (None, "drop", "reset")
_COUNTS = ("opened", "reset", "up", "down", "held_back", "lost")
BUFFER = memoryview(bytearray(1 << 18))  # one for all links: it is emptied before the next read


@dataclass(frozen=True)
class LinkRule:
    """What is done to a link, each way; latency and jitter in seconds, loss a share of pieces."""

    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    cut: str | None = None
    seed: int = 0

    def __add__(self, other: LinkRule) -> LinkRule:
        cut = max(self.cut, other.cut, key=CUTS.index)
        seed = self.seed or other.seed
        loss = 1 - (1 - self.loss) * (1 - other.loss) if other.loss else self.loss
        return LinkRule(self.latency + other.latency, self.jitter + other.jitter, loss, cut, seed)


class Pipe:
    """One direction of a link: what `source` reads, `sink` gets when it is due."""

    def __init__(self, source: asyncio.Transport, sink: asyncio.Transport, name: str) -> None:
        self.source, self.sink, self.name = source, sink, name
        self.loop = asyncio.get_running_loop()
        self.rule = LinkRule()
        self.direct = True
        self.rng = random.Random()
        self.queue: deque[tuple[float, bytes]] = deque()  # an empty piece is the end
        self.timer: asyncio.TimerHandle | None = None
        self.sink_is_full = False
        self.held = self.held_back = self.lost = self.bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what the source has read; an empty piece says that it has ended."""
        self.bytes += len(data)
        late = 0.0 if self.direct else self._lateness()
        if late > 0 or self.queue or self.rule.cut is not None:
            self._hold(data, self.loop.time() + late)
        elif data:
            self.sink.write(data)
        else:
            self.sink.close()

    def _lateness(self) -> float:
        """Draw how many seconds late the next piece is."""
        rule = self.rule
        late = rule.latency + rule.jitter * (2 * self.rng.random() - 1)
        timeout, tries = RETRANSMIT, 0
        while tries < RETRANSMISSIONS and self.rng.random() < rule.loss:
            late += timeout
            timeout, tries = min(2 * timeout, RETRANSMIT_AT_MOST), tries + 1
        self.lost += tries > 0
        return late

    def _hold(self, data: bytes, due: float) -> None:
        if self.queue:
            due = max(due, self.queue[-1][0])
        self.queue.append((due, data))
        self.held += len(data)
        self.held_back += 1
        if len(self.queue) == 1:
            self._arm()
        self.throttle()

    def _arm(self) -> None:
        if self.queue and self.rule.cut is None:
            self.timer = self.loop.call_at(self.queue[0][0], self._deliver)

    def _deliver(self, until: float | None = None) -> None:
        limit = self.loop.time() + TICK if until is None else until
        pieces = []
        while self.queue and self.queue[0][0] <= limit:
            pieces.append(self.queue.popleft()[1])
        if data := b"".join(pieces):
            self.held -= len(data)
            self.sink.write(data)
        if pieces and not pieces[-1]:
            self.sink.close()
        self._arm()
        self.throttle()

    def follow(self, rule: LinkRule) -> None:
        """Obey another rule from now on; what the former held back is delivered at once."""
        self._disarm()
        drawn = (rule.seed, rule.jitter, rule.loss)
        if drawn != (self.rule.seed, self.rule.jitter, self.rule.loss):
            self.rng.seed(f"{rule.seed}/{self.name}")
        self.rule = rule
        self.direct = not (rule.latency or rule.jitter or rule.loss)
        if rule.cut is None:
            self._deliver(float("inf"))

    def stop(self) -> None:
        """Forget what is held: the sink is gone."""
        self._disarm()
        self.queue.clear()

    def _disarm(self) -> None:
        if self.timer:
            self.timer.cancel()

    def fill(self, is_full: bool) -> None:
        """Hear that the sink's own buffer is full, or has room again."""
        self.sink_is_full = is_full
        self.throttle()

    def throttle(self) -> None:
        """Let the source read only while there is room for what it reads."""
        if self.sink_is_full or self.held > HELD_LIMIT:
            self.source.pause_reading()
        elif not self.source.is_reading():
            self.source.resume_reading()


def ignore(data: bytes) -> None:
    """Take what nobody waits for."""


class LinkEnd(asyncio.BufferedProtocol):
    """One side of a link; `feed` gets what it reads, `inbound` is the pipe that writes to it."""

    def __init__(self, link: ProxiedLink, feed: Callable[[bytes], None]) -> None:
        self.link, self.feed = link, feed
        self.transport: asyncio.Transport | None = None
        self.inbound: Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio has set TCP_NODELAY on it."""
        self.transport = cast(asyncio.Transport, transport)
        self.link.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Read into the buffer that all links share."""
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on a copy: a transport that cannot write at once keeps what it was given."""
        self.feed(bytes(BUFFER[:nbytes]))

    def pause_writing(self) -> None:
        """Slow the pipe: this end's peer takes data more slowly than the other end sends it."""
        if self.inbound:
            self.inbound.fill(True)

    def resume_writing(self) -> None:
        """Let the pipe go on."""
        if self.inbound:
            self.inbound.fill(False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Tell the other side, in its time, that this one has ended."""
        self.feed(b"")
        self.link.lost(self)

    def reset(self) -> None:
        """End the connection with RST, as a firewall or a restarted host does."""
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def process_name(code: int, parameters: bytes) -> str:
    """Return the application_name among a start-up message's parameters, cut as the server does."""
    if code == CANCEL:
        return "cancel"
    words = parameters.split(b"\0")
    named = dict(zip(words[0::2], words[1::2]))  # noqa: B905 - strict= is Python 3.10's
    return named.get(b"application_name", b"").decode(errors="replace")[:63] or "unnamed"


class ProxiedLink:
    """A client's connection and, once it has said its name, the one to the server."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.process = ""
        self.nth = 0
        self.rule = LinkRule()
        self.start = bytearray()
        self.clear = asyncio.Event()
        self.connecting: asyncio.Future[None] | None = None
        self.client = LinkEnd(self, self.greet)
        self.server = LinkEnd(self, ignore)
        self.alive: set[LinkEnd] = set()
        self.pipes: tuple[Pipe, ...] = ()

    def made(self, end: LinkEnd) -> None:
        """Hear that an end is connected."""
        self.alive.add(end)
        if end is self.server:
            self._lay_pipes()

    def greet(self, data: bytes) -> None:
        """Collect the start-up message; it may come in pieces, after requests for encryption."""
        self.start += data
        assert self.client.transport is not None
        while len(self.start) >= 8:
            length, code = struct.unpack_from("!ii", self.start)
            if not 8 <= length <= START_LIMIT:
                self.client.transport.abort()
            elif code in (SSL, GSS):
                self.client.transport.write(b"N")
                del self.start[:length]
                continue
            elif len(self.start) >= length:
                self.process = process_name(code, bytes(self.start[8:length]))
                self.client.feed = ignore
                self.client.transport.pause_reading()
                self.nth = self.proxy.enter(self)
                self.connecting = asyncio.ensure_future(self._connect())
            return

    async def _connect(self) -> None:
        await self.clear.wait()
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self.server, *self.proxy.upstream)
        except OSError as error:
            print(f"{self.process}: no connection upstream: {error}", file=sys.stderr, flush=True)
            self.client.reset()

    def _lay_pipes(self) -> None:
        client, server = self.client, self.server
        assert client.transport is not None
        assert server.transport is not None
        name = f"{self.process}/{self.nth}"
        up = Pipe(client.transport, server.transport, f"{name}/up")
        down = Pipe(server.transport, client.transport, f"{name}/down")
        self.pipes = up, down
        server.inbound, client.inbound = self.pipes
        client.feed, server.feed = up.feed, down.feed
        self.follow(self.rule)
        up.feed(bytes(self.start))
        up.throttle()

    def follow(self, rule: LinkRule) -> None:
        """Obey another rule from now on."""
        self.rule = rule
        if rule.cut == "reset":
            self.proxy.count(self, "reset", 1)
            self.client.reset()
            self.server.reset()
            return
        for pipe in self.pipes:
            pipe.follow(rule)
        if rule.cut is None:
            self.clear.set()
        else:
            self.clear.clear()

    def lost(self, end: LinkEnd) -> None:
        """Hear that an end is gone; the link ends with the last of them."""
        self.alive.discard(end)
        if end.inbound:
            end.inbound.stop()
            (self.client if end is self.server else self.server).feed = ignore
        elif self.connecting:
            self.connecting.cancel()
        if not self.alive and self.process:
            self.proxy.leave(self)


class Proxy:
    """All links and all rules."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.rules: dict[str, LinkRule] = {}
        self.links: set[ProxiedLink] = set()
        self.counts: dict[str, Counter[str]] = {}

    def enter(self, link: ProxiedLink) -> int:
        """Take in a link whose process is known; return its number among the process' links."""
        self.links.add(link)
        self.count(link, "opened", 1)
        link.follow(self.rule_of(link.process))
        return self.counts[link.process]["opened"]

    def leave(self, link: ProxiedLink) -> None:
        """Forget a link, but not what it has carried."""
        self.links.discard(link)
        self.counts[link.process].update(_carried(link))

    def count(self, link: ProxiedLink, what: str, number: int) -> None:
        """Add to a process' counts."""
        self.counts.setdefault(link.process, Counter())[what] += number

    def rule_of(self, process: str) -> LinkRule:
        """Return the sum of the rules that match a process."""
        matching = (r for name, r in self.rules.items() if fnmatch.fnmatchcase(process, name))
        return sum(matching, LinkRule())

    def put(self, pattern: str, changes: dict[str, Any]) -> LinkRule:
        """Set some fields of a pattern's rule."""
        self.rules[pattern] = replace(self.rules.get(pattern, LinkRule()), **changes)
        self._follow()
        return self.rules[pattern]

    def delete(self, pattern: str | None) -> None:
        """Drop a pattern's rule, or all."""
        if pattern is None:
            self.rules.clear()
        else:
            self.rules.pop(pattern, None)
        self._follow()

    def _follow(self) -> None:
        for link in list(self.links):
            rule = self.rule_of(link.process)
            if rule != link.rule:
                link.follow(rule)

    def report(self) -> dict[str, Any]:
        """Return what each process' links have carried and obey, also when all are closed."""
        report = {}
        for process, counts in sorted(self.counts.items()):
            live = [link for link in self.links if link.process == process]
            total = sum((_carried(link) for link in live), counts)
            report[process] = {
                "connections": len(live),
                **{name: total[name] for name in _COUNTS},
                "rule": asdict(self.rule_of(process)),
            }
        return report


def _carried(link: ProxiedLink) -> Counter[str]:
    carried: Counter[str] = Counter()
    for way, pipe in zip(("up", "down"), link.pipes):  # noqa: B905 - strict= is Python 3.10's
        carried[way] = pipe.bytes
        carried["held_back"] += pipe.held_back
        carried["lost"] += pipe.lost
    return carried
