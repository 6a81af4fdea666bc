"""The few calls that a scheduler and a kubelet make on pods, over any Kubernetes API server."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import tenacity
from kubernetes import config
from kubernetes.client import Configuration

from common.errors import UserError
from lab.kubelet.pods import Metadata, Pod, PodList, Status, WatchEvent

_LOG = logging.getLogger(__name__)

_REQUEST_SECONDS = 10
# The server ends a watch after this; a watch whose connection is dead but not closed ends too.
_WATCH_SECONDS = 30
_WATCH_SLACK_SECONDS = 5
_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 1.0
_MERGE_PATCH = "application/merge-patch+json"


class Unavailable(Exception):
    """The API did not answer, or answered that it cannot now (429 and 5xx): to be tried again."""


class Expired(Exception):
    """The version to watch from is too old (410): the pods must be listed anew."""


class _Bookmark(msgspec.Struct):
    metadata: Metadata


_decode_event = msgspec.json.Decoder(WatchEvent).decode
_decode_pod = msgspec.json.Decoder(Pod).decode


def load(kubeconfig: Path, context: str | None = None) -> Configuration:
    """Return the client configuration of a kubeconfig's context, by default the current one.

    Raises UserError for a file that is missing or is not a kubeconfig.
    """
    configuration = Configuration()
    try:
        config.load_kube_config(str(kubeconfig), context, client_configuration=configuration)
    except (config.ConfigException, OSError, ValueError) as error:
        raise UserError(
            f"{kubeconfig} cannot be used as a kubeconfig: {error}",
            "Name one with --kubeconfig or KUBECONFIG.",
        ) from error
    return configuration


class PodsAPI:
    """One namespace's pods. An asynchronous context manager, for its connections."""

    def __init__(self, configuration: Configuration, namespace: str) -> None:
        self._configuration = configuration
        self._pods = f"{configuration.host.rstrip('/')}/api/v1/namespaces/{namespace}/pods"
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=_tls(self._configuration), limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector,
            raise_for_status=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def pods(self) -> PodList:
        """Return all pods, however long the API takes to be there.

        Raises UserError if the API refuses.
        """
        code, body = await self._call("GET", self._pods)
        if code != 200:
            raise UserError(
                f"Pods cannot be listed at {self._pods}: {code} {_message(body)}",
                "Check the namespace, and the credentials in the kubeconfig.",
            )
        return msgspec.json.decode(body, type=PodList)

    async def watch(self, version: str) -> AsyncIterator[tuple[str, str, Pod | None]]:
        """Yield (type, resourceVersion, pod) of each change after `version`, for half a minute.

        A bookmark has no pod. Raises Expired if `version` is too old, Unavailable if the
        connection breaks; both leave no event behind that was not yielded.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        limit = aiohttp.ClientTimeout(total=_WATCH_SECONDS + _WATCH_SLACK_SECONDS)
        try:
            async with self._request("GET", self._pods, limit, params=query) as response:
                if response.status != 200:
                    _raise(response.status, _message(await response.read()))
                buffer = b""
                async for chunk in response.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        yield _event(line)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(str(error)) from error

    async def bind(self, pod: Pod, node: str) -> bool:
        """Assign a pod to a node; False if it is gone, or was assigned to another before."""
        name = pod.metadata.name
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "uid": pod.key},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        code = await self._send("POST", f"{self._pods}/{name}/binding", lambda: binding)
        if code == 409:  # perhaps by us, in an attempt whose answer was lost
            code, body = await self._call("GET", f"{self._pods}/{name}")
            if code != 200:
                return False
            found = _decode_pod(body)
            return found.key == pod.key and found.spec.node_name == node
        return code < 300

    async def report(self, pod: Pod, latest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Write the latest status, asked for anew in each attempt; return the one written.

        A pod that is gone, or another of that name, is left alone.
        """
        status: dict[str, Any] = {}

        def patch() -> dict[str, Any]:
            nonlocal status
            status = latest()
            return {"metadata": {"uid": pod.key}, "status": status}

        await self._send("PATCH", f"{self._pods}/{pod.metadata.name}/status", patch)
        return status

    async def delete(self, pod: Pod) -> None:
        """Remove a pod whose container has ended, which only a kubelet may say."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.key}}
        await self._send("DELETE", f"{self._pods}/{pod.metadata.name}", lambda: options)

    async def _send(self, method: str, url: str, body: Callable[[], Any]) -> int:
        code, answer = await self._call(method, url, body)
        if code >= 400 and code not in (404, 409):
            _LOG.warning("%s %s was refused: %d %s", method, url, code, _message(answer))
        return code

    async def _call(
        self, method: str, url: str, body: Callable[[], Any] = lambda: None
    ) -> tuple[int, bytes]:
        """Return status and body of the answer, trying again for as long as there is none.

        Tenacity takes a quarter of a call's CPU time, so only what failed once comes to it.
        """
        try:
            return await self._attempt(method, url, body)
        except Unavailable as error:
            _LOG.debug("%s %s is tried again: %s", method, url, error)
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)
            return await self._insist(method, url, body)

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(Unavailable),
        wait=tenacity.wait_exponential(2 * _FIRST_PAUSE_SECONDS, max=_LAST_PAUSE_SECONDS),
        before_sleep=tenacity.before_sleep_log(_LOG, logging.DEBUG),
    )
    async def _insist(self, method: str, url: str, body: Callable[[], Any]) -> tuple[int, bytes]:
        return await self._attempt(method, url, body)

    async def _attempt(self, method: str, url: str, body: Callable[[], Any]) -> tuple[int, bytes]:
        kind = _MERGE_PATCH if method == "PATCH" else "application/json"
        content = body()
        data = None if content is None else msgspec.json.encode(content)
        headers = {"Content-Type": kind} if data else {}
        limit = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        try:
            async with self._request(method, url, limit, data=data, headers=headers) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(str(error)) from error
        if response.status == 429 or response.status >= 500:
            raise Unavailable(f"{response.status} {_message(answer)}")
        return response.status, answer

    def _request(
        self, method: str, url: str, limit: aiohttp.ClientTimeout, **options: Any
    ) -> "aiohttp.client._RequestContextManager":
        headers: dict[str, str] = options.pop("headers", {})
        token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        name = self._configuration.tls_server_name
        return self._session.request(
            method, url, timeout=limit, headers=headers, server_hostname=name, **options
        )


def _tls(configuration: Configuration) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https"):
        return True
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _event(line: bytes) -> tuple[str, str, Pod | None]:
    event = _decode_event(line)
    if event.type == "ERROR":
        status = msgspec.json.decode(event.object, type=Status)
        _raise(status.code, status.message)
    if event.type == "BOOKMARK":
        mark = msgspec.json.decode(event.object, type=_Bookmark)
        return event.type, mark.metadata.resource_version, None
    pod = _decode_pod(event.object)
    return event.type, pod.metadata.resource_version, pod


def _raise(code: int, message: str) -> None:
    if code == 410:
        raise Expired(message)
    raise Unavailable(f"{code} {message}")


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Status).message
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
