"""A stand-in of the Kubernetes API, for whoever looks at a deployment: nothing in it runs.

    with StandIn(manifests) as there:
        there.lead("db-0", 5432, postgres.port)     # a port-forward's other end
        there.deny("get", "endpoints")              # as RBAC does: 403, in Kubernetes' words
        discover(there.client(), "airflow")

Store, selectors, lists and watches are those of `lab.kubeapi`, which is held to a real API server
by `tests/contract`; the kinds of object beside pods are as read as pods, and no rule is checked.
"""

import asyncio
import base64
import itertools
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import yaml
from aiohttp import WSMsgType, web

from common.files import write_whole
from lab.kube.client import api_client
from lab.kubeapi import parameters, status
from lab.kubeapi.pods import PODS, now
from lab.kubeapi.routes import Request, Route, Router, as_json
from lab.kubeapi.server import list_or_watch
from lab.kubeapi.store import Resource, Store
from lab.kubeapi.views import Lister

Manifest = dict[str, Any]
"""An object of Kubernetes, as YAML has it."""

NAMESPACE = "airflow"
USER = "system:serviceaccount:airflow:reader"

_CORE = "/api/v1"
_KINDS = {
    "Service": ("services", _CORE),
    "Secret": ("secrets", _CORE),
    "ConfigMap": ("configmaps", _CORE),
    "Endpoints": ("endpoints", _CORE),
    "EndpointSlice": ("endpointslices", "/apis/discovery.k8s.io/v1"),
}
_RESOURCES = {"Pod": PODS} | {
    kind: Resource(plural, kind, True, {"metadata.name": ("metadata", "name")})
    for kind, (plural, _) in _KINDS.items()
}
_ROOTS = {"pods": _CORE} | dict(_KINDS.values())
_HISTORY = 10_000
_SUBPROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = b"\0", b"\1"
_CHUNK = 65536


class Denial(NamedTuple):
    """What RBAC does not allow; an empty name or namespace is any."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    def forbids(self, verb: str, resource: str, namespace: str, name: str) -> bool:
        """Tell whether a request is denied."""
        asked = (verb, resource, namespace, name)
        return all(mine in ("", "*", each) for mine, each in zip(self, asked, strict=True))


class StandIn:
    """The server, in a thread of its own while the block lasts; its methods are for any thread.

    `token` is wanted of every request where it is not empty. `tls` makes it HTTPS; a context that
    requires a client's certificate does so here.
    """

    def __init__(
        self,
        manifests: Iterable[Manifest] = (),
        *,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.token = token
        self.port = 0
        self.logs: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self._tls = tls
        self._manifests = list(manifests)
        self._denied: list[Denial] = []
        self._leads: dict[tuple[str, int], int] = {}
        self._store = Store(_HISTORY)
        self._lister = Lister(self._store)
        self._router = Router(self._routes())
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.ServerRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        self.put(*self._manifests)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def kubeconfig(self) -> dict[str, Any]:
        """Return a kubeconfig that leads here, with the token that is wanted."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "standin",
            "contexts": [{"name": "standin", "context": {"cluster": "standin", "user": "reader"}}],
            "clusters": [{"name": "standin", "cluster": {"server": self.url}}],
            "users": [{"name": "reader", "user": {"token": self.token} if self.token else {}}],
        }

    def write_kubeconfig(self, path: Path) -> Path:
        """Write the kubeconfig to a file, and return its path."""
        return write_whole(path, yaml.safe_dump(self.kubeconfig()), mode=0o600)

    def client(self) -> Any:
        """Return a `kubernetes.client.ApiClient` for it, as the lab makes one."""
        return api_client(self.kubeconfig())

    def put(self, *manifests: Manifest) -> None:
        """Have objects, new ones or in place of those of the same name; `Deny` denies."""
        for each in manifests:
            self._do(self._put, each)

    def remove(self, kind: str, name: str, namespace: str = NAMESPACE) -> None:
        """Have an object no more."""
        self._do(lambda: self._store.remove(self._store.get(_RESOURCES[kind], namespace, name)))

    def deny(self, verb: str, resource: str, namespace: str = "", name: str = "") -> None:
        """Forbid a verb on a resource (`pods/log` is one); `*` is any verb."""
        self._denied.append(Denial(verb, resource, namespace, name))

    def allow_all(self) -> None:
        """Forbid nothing any more."""
        self._denied.clear()

    def lead(self, pod: str, port: int, local_port: int) -> None:
        """Have a port-forward to a pod's port lead to a port of this machine; `*` is any pod."""
        self._leads[pod, port] = local_port

    def _do(self, what: Callable[..., Any], *arguments: Any) -> Any:
        async def call() -> Any:
            return what(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _put(self, manifest: Manifest) -> None:
        if manifest["kind"] == "Deny":
            for resource in manifest["resources"]:
                self.deny(manifest.get("verb", "*"), resource, manifest.get("namespace", ""))
            return
        resource = _RESOURCES[manifest["kind"]]
        obj = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
        uid = {"uid": f"00000000-0000-0000-0000-{next(self._numbers):012d}"}
        obj["metadata"] = (
            {"namespace": NAMESPACE, "creationTimestamp": now()} | uid | obj["metadata"]
        )
        if "stringData" in obj:
            plain = obj.pop("stringData").items()
            written = {key: base64.b64encode(str(each).encode()).decode() for key, each in plain}
            obj["data"] = {**obj.get("data", {}), **written}
        metadata = obj["metadata"]
        try:
            before = self._store.get(resource, metadata["namespace"], metadata["name"])
        except status.ApiError:
            self._store.create(resource, obj)
        else:
            old = before.object()
            metadata["uid"] = old["metadata"]["uid"]
            self._store.replace(before, old, {"kind": resource.kind, "apiVersion": "v1", **obj})

    async def _start(self) -> None:
        server = web.Server(
            self._answer, request_factory=self._made, access_log=None, handler_cancellation=True
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._store.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _made(self, *of_a_request: Any) -> Request:
        message, payload, protocol, writer, task = of_a_request
        return Request(message, payload, protocol, writer, task, self._loop)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, Request)
        self.asked.append((request.method, request.rel_url.raw_path))
        try:
            if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
                raise status.ApiError(401, "Unauthorized", "Unauthorized")
            handler, request.match = self._router.handler(request.method, request.rel_url.raw_path)
            return await handler(request)
        except status.ApiError as error:
            return as_json(error.body(), error.code)

    def _routes(self) -> list[Route]:
        async def version(_: Request) -> web.Response:
            return as_json(
                msgspec.json.encode({"major": "1", "minor": "30", "gitVersion": "v1.30.0"})
            )

        routes: list[Route] = [("GET", "/version/", version), ("GET", "/version", version)]
        for resource in _RESOURCES.values():
            root = _ROOTS[resource.plural]
            here = f"{root}/namespaces/{{namespace}}/{resource.plural}"
            routes += [
                ("GET", here, self._listing(resource)),
                ("GET", f"{root}/{resource.plural}", self._listing(resource)),
                ("GET", f"{here}/{{name}}", self._getting(resource)),
            ]
        pod = f"{_CORE}/namespaces/{{namespace}}/pods/{{name}}"
        routes += [("GET", f"{pod}/log", self._log), ("GET", f"{pod}/portforward", self._forward)]
        return routes

    def _authorise(self, request: Request, verb: str, resource: str) -> None:
        namespace, name = request.match.get("namespace", ""), request.match.get("name", "")
        if any(each.forbids(verb, resource, namespace, name) for each in self._denied):
            what = resource.partition("/")[0]
            named = f'{what} "{name}"' if name else what
            group = "discovery.k8s.io" if resource == "endpointslices" else ""
            where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
            message = (
                f'{named} is forbidden: User "{USER}" cannot {verb} resource "{resource}" '
                f'in API group "{group}"{where}'
            )
            raise status.ApiError(403, "Forbidden", message, {"name": name, "kind": what})

    def _listing(self, resource: Resource) -> Any:
        async def answer(request: Request) -> web.StreamResponse:
            watching = parameters.flag(request, "watch")
            self._authorise(request, "watch" if watching else "list", resource.plural)
            return await list_or_watch(self._store, self._lister, request, resource)

        return answer

    def _getting(self, resource: Resource) -> Any:
        async def get(request: Request) -> web.StreamResponse:
            self._authorise(request, "get", resource.plural)
            match = request.match
            return as_json(self._store.get(resource, match["namespace"], match["name"]).body)

        return get

    async def _log(self, request: Request) -> web.StreamResponse:
        self._authorise(request, "get", "pods/log")
        pod = self._store.get(PODS, request.match["namespace"], request.match["name"])
        stamp = f"{now()[:-1]}.000000000Z " if parameters.flag(request, "timestamps") else ""
        lines = self.logs.get(pod.name, ())
        return web.Response(text="".join(f"{stamp}{line}\n" for line in lines))

    async def _forward(self, request: Request) -> web.StreamResponse:
        """Serve one connection: each channel begins with the port, and 1 is for what went wrong."""
        self._authorise(request, "get", "pods/portforward")
        pod = self._store.get(PODS, request.match["namespace"], request.match["name"])
        port = int(request.query["ports"])
        socket = web.WebSocketResponse(protocols=(_SUBPROTOCOL,))
        await socket.prepare(request)
        for channel in (_DATA, _ERROR):
            await socket.send_bytes(channel + port.to_bytes(2, "little"))
        try:
            local = self._leads.get((pod.name, port)) or self._leads.get(("*", port), 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
        except OSError:
            reason = f"failed to connect to localhost:{port} inside namespace: connection refused"
            await socket.send_bytes(_ERROR + f"error forwarding port: {reason}".encode())
            await socket.close()
            return socket
        await _carry(socket, reader, writer)
        return socket


async def _carry(
    socket: web.WebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pass bytes both ways until either side ends."""

    async def back() -> None:
        while data := await reader.read(_CHUNK):
            await socket.send_bytes(_DATA + data)
        await socket.close()

    answering = asyncio.ensure_future(back())
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[:1] == _DATA:
                writer.write(message.data[1:])
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        if not reader.at_eof():  # else it is telling the client so
            answering.cancel()
        writer.close()
        await asyncio.gather(answering, return_exceptions=True)
