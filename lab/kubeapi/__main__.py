"""`python -m lab.kubeapi`: serve the small Kubernetes API until SIGTERM."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from common.errors import UserError
from common.pipe import count, reporting
from lab.kubeapi.server import server
from lab.kubeapi.store import Store

_DESCRIPTION = """\
Serve a small Kubernetes API (pods and namespaces, in memory) over plain HTTP, without
authentication. Prints "listening on URL" once it serves; SIGTERM or Ctrl-C ends it at once."""
_HISTORY = 10_000
# kube-apiserver lets idle connections be; closing them makes a client's next request race.
_KEEPALIVE_SECONDS = 3600.0
# A watch whose client reads gets its proper end in this time; a frozen client's is cut.
_SHUTDOWN_SECONDS = 0.2


@reporting
def main(argv: list[str] | None = None) -> int:
    """Run the server; return the exit code: 0 after SIGTERM, 2 for what the user must mend."""
    uvloop.run(_serve(_parser().parse_args(argv)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.kubeapi",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="0 takes a free one (the default)")
    parser.add_argument(
        "--logs", type=Path, required=True, metavar="DIR", help="where pod NAME's log is NAME.log"
    )
    parser.add_argument(
        "--history",
        type=count,
        default=_HISTORY,
        metavar="N",
        help="how many changes a watch can look back; older is 410 Expired (%(default)s)",
    )
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a valid port: 0 to 65535")
    return number


async def _serve(options: argparse.Namespace) -> None:
    if not options.logs.is_dir():
        raise UserError(f"{options.logs} is not a directory.", "Make it, then start again.")
    store = Store(options.history)
    serving = server(
        store,
        options.logs,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEPALIVE_SECONDS,
    )
    runner = web.ServerRunner(serving, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise UserError(
            f"Cannot listen on {options.host}:{options.port}: {error.strerror}.",
            "Choose another --port, or 0 for a free one.",
        ) from None
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    host, port = runner.addresses[0][:2]
    print(f"listening on http://{host}:{port}", flush=True)
    await stopped.wait()
    store.close()
    await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
