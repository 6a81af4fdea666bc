"""A TCP proxy in front of PostgreSQL that slows or cuts the links of chosen processes.

    scheduler-1 --+                +-- link: scheduler-1 --+
    scheduler-2 --+--> one port -->+-- link: scheduler-2 --+--> PostgreSQL
    api-server  --+                +-- link: api-server  --+

                     a link:  client --> pipe --> server
                              client <-- pipe <-- server
                     a pipe:  read -> [held until due, in order] -> write

The start-up message names the process (application_name), so one port serves all. A pipe without
a rule writes at once what it reads. With latency each piece gets a due time of its own, so a
hundred pieces in flight are late by one latency, not by a hundred. With loss a piece is, with that
probability, as late as TCP makes it: 0.2 s until it is sent again, 0.4 s more if that is lost too,
and so on, never more than 120 s at a time; what follows it waits behind it, since a TCP reader gets
bytes in order. Cut by `drop`, a pipe keeps what it reads, as senders do while the network loses
packets, and delivers it when healed; cut by `reset`, links are reset, and new ones too as soon as
they have said their name.

Standard library only, but for uvloop where it is there, since it also runs inside Airflow's image.
Encryption is declined, or the start-up message could not be read. Control, as JSON over HTTP:

    GET    /links             by process: connections, bytes, pieces held back or lost, resets, rule
    PUT    /rules/<pattern>   {"latency": s, "jitter": s, "loss": 0..1,
                               "cut": null|"drop"|"reset", "seed": n}
    DELETE /rules/<pattern>   and DELETE /rules for all

A pattern is a name, or has `*` and `?`. PUT sets the fields that it names and leaves the others.
All rules that match a process add up: latencies and jitters are summed, a piece may be lost to
each, the harder cut counts.
A process that gives no name is `unnamed`; requests to cancel a statement are `cancel`.
"""

from __future__ import annotations  # Airflow's images start at Python 3.9

import argparse
import asyncio
import contextlib
import importlib
import json
import signal
import sys
import urllib.parse
from dataclasses import asdict, fields
from typing import Any

from lab.dbproxy.link import CUTS, LinkRule, ProxiedLink, Proxy

REQUEST_LIMIT = 65_536  # bytes
REQUEST_TIME = 5.0  # seconds


class BadRequest(Exception):
    """A request that cannot be served; its text is the answer."""


def changes_from(body: bytes) -> dict[str, Any]:
    """Return the fields of a rule that a request names; BadRequest says what is wrong with them."""
    try:
        changes = json.loads(body)
    except ValueError:
        raise BadRequest("the body is not JSON") from None
    known = [field.name for field in fields(LinkRule)]
    if not isinstance(changes, dict) or not set(changes) <= set(known):
        raise BadRequest(f"the body must be an object with some of {', '.join(known)}")
    for name in {"latency", "jitter"} & set(changes):
        value = changes[name]
        if type(value) not in (int, float) or not 0 <= value <= 3600:
            raise BadRequest(f"{name} must be seconds from 0 to 3600, not {value!r}")
    loss = changes.get("loss", 0.0)
    if type(loss) not in (int, float) or not 0 <= loss < 1:
        raise BadRequest(f"loss must be a share from 0 to under 1, not {loss!r}")
    if changes.get("cut") not in CUTS:
        raise BadRequest(f'cut must be null, "drop" or "reset", not {changes["cut"]!r}')
    if type(changes.get("seed", 0)) is not int:
        raise BadRequest(f"seed must be a whole number, not {changes['seed']!r}")
    return changes


class Control:
    """The HTTP side: one request a connection."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, or hang up on who does not finish asking."""
        lost = (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError)
        with contextlib.suppress(*lost), contextlib.closing(writer):
            try:
                request = await asyncio.wait_for(self._read(reader), REQUEST_TIME)
                status, answer = "200 OK", self.answer(*request)
            except (BadRequest, ValueError, asyncio.LimitOverrunError) as error:
                status, answer = "400 Bad Request", {"error": str(error)}
            body = json.dumps(answer).encode() + b"\n"
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await asyncio.wait_for(writer.drain(), REQUEST_TIME)

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, list[str], bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= REQUEST_LIMIT:
            raise BadRequest("the body is too long")
        words = [urllib.parse.unquote(word) for word in path.strip("/").split("/")]
        return method, words, await reader.readexactly(length)

    def answer(self, method: str, words: list[str], body: bytes) -> dict[str, Any]:
        """Do what a request asks for and return the answer; raises BadRequest."""
        if method == "GET" and words == ["links"]:
            return self.proxy.report()
        if words[0] == "rules" and len(words) == 2 and method == "PUT":
            return asdict(self.proxy.put(words[1], changes_from(body)))
        if words[0] == "rules" and len(words) <= 2 and method == "DELETE":
            self.proxy.delete(words[1] if len(words) == 2 else None)
            return {}
        raise BadRequest("there are GET /links, PUT /rules/<pattern>, DELETE /rules[/<pattern>]")


def address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _bound(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; OSError when an address cannot be listened on."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    proxy = Proxy(options.upstream)
    links = await loop.create_server(
        lambda: ProxiedLink(proxy).client, *options.listen, backlog=512
    )
    control = await asyncio.start_server(
        Control(proxy).serve, *options.control, limit=REQUEST_LIMIT
    )
    addresses = {"listen": _bound(links), "control": f"http://{_bound(control)}"}
    print(json.dumps(addresses), flush=True)
    await done.wait()
    links.close()
    control.close()


def _fastest_loop() -> Any:
    """Return uvloop, which spares CPU time; asyncio in Airflow's images, which have none."""
    try:
        return importlib.import_module("uvloop")
    except ImportError:
        return asyncio


def main(arguments: list[str] | None = None) -> int:
    """Run the proxy; 2 when it cannot listen."""
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "python -m lab.dbproxy",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = ("127.0.0.1", 0)
    parser.add_argument("--listen", type=address, default=here, metavar="HOST:PORT")
    parser.add_argument("--upstream", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--control", type=address, default=here, metavar="HOST:PORT")
    try:
        _fastest_loop().run(run(parser.parse_args(arguments)))
    except OSError as error:
        print(f"dbproxy: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
