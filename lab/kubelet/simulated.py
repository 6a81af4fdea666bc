"""Workers without a process: only the execution API's calls that Airflow would notice.

A simulated worker says that its task instance started, waits, and says that it succeeded, as
`airflow.sdk.api.client` does: PATCH task-instances/ID/run, then PATCH task-instances/ID/state.
It runs no user code, so nothing is returned to XCom, skipped, deferred, or written to a ledger.
"""

import asyncio
import itertools
import signal
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import tenacity

from lab.kubelet.pods import ContainerCommand

# Airflow 3.0 to 3.4 serve this version; the bodies below are the same in all of them.
_API_VERSION = "2025-04-28"
_REQUEST_SECONDS = 60
_PASSING = (aiohttp.ClientError, TimeoutError)
# As the Task SDK's client: five attempts for what may pass, here a first one and four more.
_MORE_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 1.0
_retried = tenacity.retry(
    retry=tenacity.retry_if_exception_type(_PASSING),
    stop=tenacity.stop_after_attempt(_MORE_ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=2, min=1, max=30),
    reraise=True,
)


class _TaskInstance(msgspec.Struct):
    id: str


class Workload(msgspec.Struct):
    """The parts of KubernetesExecutor's workload JSON that a simulated worker needs."""

    token: str
    ti: _TaskInstance


class _Refused(Exception):
    """The API answered 4xx, which the Task SDK does not try again; carries the body."""


class _EndRefused(_Refused):
    """It did so to a worker that had started, and done its work."""


class SimulatedContainer:
    """A worker that is a coroutine; see `kubelet.Container`."""

    def __init__(self, work: asyncio.Task[int]) -> None:
        self._work = work
        self._signal = 0

    async def wait(self) -> int:
        """Return the exit code that a worker process would have ended with."""
        await asyncio.wait({self._work})
        return 128 + self._signal if self._work.cancelled() else self._work.result()

    def signal(self, number: int) -> None:
        """End the worker: it leaves its task instance as it is, like one that is killed."""
        if not self._work.done():
            self._signal = self._signal or signal.Signals(number).value
            self._work.cancel()


class Simulation:
    """Runs simulated workers; see `kubelet.Runtime`.

    `seconds` is a task's duration. `calls` bounds the API calls under way at once: some fifteen
    at once exhaust an API server's default connection pool.
    """

    def __init__(self, url: str, seconds: float, calls: int) -> None:
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._calls = asyncio.Semaphore(calls)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
            headers={"Airflow-API-Version": _API_VERSION},
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def open(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    async def start(self, command: ContainerCommand) -> SimulatedContainer:
        """Start a worker for the workload in the command's --json-string."""
        return SimulatedContainer(asyncio.create_task(self._work(command)))

    async def broken(self) -> None:
        """Wait for ever: there is nothing that could break."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _work(self, command: ContainerCommand) -> int:
        try:
            await self._task(workload_of(command.argv), command.pod)
        except _EndRefused as refused:
            # A traceback in a real worker's log, which tells it from a start that was refused.
            _log(command, "error", "Traceback: the end was refused", refused.args[0], __name__)
        except _Refused as refused:
            # The words in which a worker of Airflow 3.0 logs it.
            _log(command, "warning", "Server error", refused.args[0], "airflow.sdk.api.client")
        except (msgspec.DecodeError, *_PASSING) as error:
            _log(command, "error", "Simulated worker failed", repr(error), __name__)
        else:
            return 0
        return 1

    async def _task(self, workload: Workload, host: str) -> None:
        at = f"{self._url}/task-instances/{workload.ti.id}"
        start = {"state": "running", "hostname": host, "unixname": "simulated", "pid": 1}
        token = await self._call(f"{at}/run", start | {"start_date": _now()}, workload.token)
        await asyncio.sleep(self._seconds)
        success = {"state": "success", "task_outlets": [], "outlet_events": []}
        try:
            await self._call(f"{at}/state", success | {"end_date": _now()}, token)
        except _Refused as refused:
            raise _EndRefused(*refused.args) from refused

    async def _call(self, url: str, body: dict[str, Any], token: str) -> str:
        """Make one call and return the token for the next: the API may hand out a new one.

        Tenacity takes a quarter of a call's CPU time, so only what failed once comes to it.
        """
        try:
            return await self._attempt(url, body, token)
        except _PASSING:
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)
            return await self._insist(url, body, token)

    @_retried
    async def _insist(self, url: str, body: dict[str, Any], token: str) -> str:
        return await self._attempt(url, body, token)

    async def _attempt(self, url: str, body: dict[str, Any], token: str) -> str:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        content = msgspec.json.encode(body)
        async with (
            self._calls,
            self._session.patch(url, data=content, headers=headers) as response,
        ):
            answer = await response.read()
        if 400 <= response.status < 500:
            raise _Refused(_decoded(answer))
        response.raise_for_status()
        return response.headers.get("Refreshed-API-Token", token)


def workload_of(argv: list[str]) -> Workload:
    """Return the workload in a worker's words; raises msgspec.DecodeError if there is none."""
    for option, value in itertools.pairwise(argv):
        if option == "--json-string":
            return msgspec.json.decode(value, type=Workload)
    raise msgspec.DecodeError("the command has no --json-string")


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode(errors="replace")


def _log(command: ContainerCommand, level: str, event: str, detail: object, logger: str) -> None:
    """Write the container's log: one line, and only of failures, for floods are large."""
    line = {"timestamp": _now(), "level": level, "event": event, "detail": detail}
    command.log.write_bytes(msgspec.json.encode(line | {"logger": logger}) + b"\n")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
