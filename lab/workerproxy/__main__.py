"""`python -m lab.workerproxy`: stand between workers and the API server until SIGTERM."""

import argparse
import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from common.database import DSN_VARIABLE
from common.errors import UserError
from common.pipe import reporting
from lab.workerproxy import control
from lab.workerproxy.answers import AnswerLog
from lab.workerproxy.control import Control
from lab.workerproxy.proxy import Proxy
from lab.workerproxy.rules import Names, Rules

_DESCRIPTION = f"""\
Pass requests of Airflow's workers on to the API server, write down what it answers, and hold,
delay, lose, drop or answer requests by rule. Prints its addresses as JSON once it serves; SIGTERM
or Ctrl-C ends it at once. {DSN_VARIABLE} holds the metadata database's libpq conninfo, for rules
that name tasks."""

# As uvicorn does not close a worker's connection before it has been idle for two minutes.
_KEEPALIVE_SECONDS = 3600.0
_SHUTDOWN_SECONDS = 0.2
_BODY_BYTES = 1 << 30


@reporting
def main(arguments: list[str] | None = None) -> int:
    """Run the proxy; return the exit code: 0 after SIGTERM, 2 for what the user must mend."""
    parser = argparse.ArgumentParser(
        "python -m lab.workerproxy",
        description=_DESCRIPTION,
        epilog=control.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--upstream", required=True, metavar="URL", help="the API server's")
    parser.add_argument("--answers", type=Path, required=True, metavar="FILE", help="appended to")
    uvloop.run(_serve(parser.parse_args(arguments)))
    return 0


async def _serve(options: argparse.Namespace) -> None:
    try:
        log = AnswerLog(options.answers)
    except OSError as error:
        raise UserError(f"{options.answers} cannot be written: {error.strerror}.") from None
    rules = Rules(Names(os.environ.get(DSN_VARIABLE, "")))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(options.upstream, log, rules))
        addresses = {
            "listen": await _listen(stack, proxy.answer),
            "control": await _listen(stack, Control(rules).answer),
        }
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        print(json.dumps(addresses), flush=True)
        await stopped.wait()


async def _listen(stack: AsyncExitStack, answer: Any) -> str:
    """Serve on a free port of loopback; return the URL."""
    loop = asyncio.get_running_loop()

    def made(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        limit = _BODY_BYTES
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=limit
        )

    server = web.Server(
        answer,
        request_factory=made,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEPALIVE_SECONDS,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=512).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
