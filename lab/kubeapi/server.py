"""The HTTP side: which path and method does what."""

import asyncio
import platform
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml
from aiohttp import web

from lab.kubeapi import parameters, patches, status
from lab.kubeapi.control import Control
from lab.kubeapi.disturbing import Disturbing
from lab.kubeapi.kubeconfig import CLIENTS
from lab.kubeapi.pods import PODS
from lab.kubeapi.registry import NAMESPACES, Registry
from lab.kubeapi.routes import Handler, Request, Route, Router, as_json
from lab.kubeapi.rules import Rules
from lab.kubeapi.store import Object, Record, Resource, Store
from lab.kubeapi.validation import is_name
from lab.kubeapi.views import Lister, view_for
from lab.kubeapi.watches import Watch

# Semantic versioning's build metadata says whose server this is without making it older.
_VERSION = {
    "major": "1",
    "minor": "30",
    "gitVersion": "v1.30.0+kubeapi",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": platform.python_implementation().lower(),
    "platform": f"{platform.system().lower()}/{platform.machine()}",
}
_GROUPS = {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}

_CORE = "/api/v1"
_PODS = _CORE + "/namespaces/{namespace}/pods"
_POD = _PODS + "/{name}"


def server(store: Store, logs_directory: Path, **options: Any) -> web.Server:
    """Return the server, not yet listening; pod logs are read from `logs_directory`.

    `options` are those of aiohttp's low-level server.
    """
    rules = Rules(store)
    disturbing = Disturbing(rules, store)
    handlers = Handlers(Registry(store), logs_directory, rules)
    router = Router([*handlers.routes(), *_discovery_routes(), *Control(rules).routes()])
    loop = asyncio.get_running_loop()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, Request)
        path = request.rel_url.raw_path
        try:
            if path.startswith(CLIENTS):
                request.client, _, path = path[len(CLIENTS) :].partition("/")
                path = f"/{path}"
            handler, request.match = router.handler(request.method, path)
            if rules.in_force and rules.concern(request.client):
                return await disturbing.answer(request, path, handler)
            return await handler(request)
        except status.ApiError as error:
            return as_json(error.body(), error.code)

    def made(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Request:
        limit = parameters.MAX_BODY_BYTES
        return Request(message, payload, protocol, writer, task, loop, client_max_size=limit)

    return web.Server(answer, request_factory=made, **options)


async def list_or_watch(
    store: Store, lister: Lister, request: Request, resource: Resource, rules: Rules | None = None
) -> web.StreamResponse:
    """Answer a GET of a resource's objects: with a page of them, or by a watch under `rules`."""
    selector = parameters.selector(request, resource)
    view = view_for(resource, request.headers.get("Accept", ""))
    namespace = request.match.get("namespace")
    if parameters.flag(request, "watch"):
        seconds = parameters.number(request, "timeoutSeconds")
        bookmarks = parameters.flag(request, "allowWatchBookmarks")
        # Unset and 0 both mean: the state as it is, then every change.
        position = parameters.number(request, "resourceVersion") or None
        watch = Watch(
            *(store, view, namespace, selector, seconds, bookmarks, position),
            *(rules or Rules(store), request.client),
        )
        return await watch.serve(request)
    limit = parameters.number(request, "limit") or 0
    token = request.query.get("continue", "")
    return as_json(lister.page(view, namespace, selector, limit, token))


def _discovery_routes() -> list[Route]:
    async def ok(_: Request) -> web.Response:
        return web.Response(text="ok")

    async def api(request: Request) -> web.Response:
        place = {"clientCIDR": "0.0.0.0/0", "serverAddress": request.host}
        answer = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [place]}
        return as_json(msgspec.json.encode(answer))

    def fixed(answer: Any) -> Handler:
        body = msgspec.json.encode(answer)

        async def respond(_: Request) -> web.Response:
            return as_json(body)

        return respond

    answers: dict[str, Handler] = {
        "/healthz": ok,
        "/livez": ok,
        "/readyz": ok,
        "/version": fixed(_VERSION),
        "/api": api,
        "/apis": fixed(_GROUPS),
        _CORE: fixed(yaml.safe_load(Path(__file__).with_name("resources.yaml").read_text())),
    }
    # The generated clients ask with a slash at the end, the dynamic one without.
    return [("GET", path + end, handler) for path, handler in answers.items() for end in ("", "/")]


class Handlers:
    """The requests that read or change objects."""

    def __init__(self, registry: Registry, logs_directory: Path, rules: Rules) -> None:
        self._registry = registry
        self._rules = rules
        self._store = registry.store
        self._lister = Lister(registry.store)
        self._logs = logs_directory

    def routes(self) -> list[Route]:
        """Return what is served under /api/v1."""
        return [
            ("GET", _POD, self._get_pod),
            ("PATCH", _POD, self._patch_pod),
            ("DELETE", _POD, self._delete_pod),
            ("PUT", _POD, self._put_pod),
            ("PATCH", _POD + "/status", partial(self._patch_pod, subresource="status")),
            ("PUT", _POD + "/status", partial(self._put_pod, subresource="status")),
            ("GET", _POD + "/status", self._get_pod),
            ("POST", _POD + "/binding", self._bind_pod),
            ("GET", _POD + "/log", self._pod_log),
            ("GET", _PODS, self._list_pods),
            ("POST", _PODS, self._create_pod),
            ("DELETE", _PODS, self._delete_pods),
            ("GET", _CORE + "/pods", self._list_pods),
            ("POST", _CORE + "/namespaces/{namespace}/bindings", self._bind_pod),
            ("GET", _CORE + "/namespaces", self._list_namespaces),
            ("POST", _CORE + "/namespaces", self._create_namespace),
            ("GET", _CORE + "/namespaces/{name}", self._get_namespace),
            ("POST", _CORE + "/namespaces/{namespace}/events", self._drop_event),
            ("GET", _CORE + "/namespaces/{namespace}/events", self._no_events),
            ("GET", _CORE + "/events", self._no_events),
        ]

    async def _list_pods(self, request: Request) -> web.StreamResponse:
        return await list_or_watch(self._store, self._lister, request, PODS, self._rules)

    async def _list_namespaces(self, request: Request) -> web.StreamResponse:
        return await list_or_watch(self._store, self._lister, request, NAMESPACES)

    async def _get_pod(self, request: Request) -> web.StreamResponse:
        view = view_for(PODS, request.headers.get("Accept", ""))
        return as_json(view.encoded(self._pod(request)))

    def _pod(self, request: Request) -> Record:
        match = request.match
        return self._store.get(PODS, match["namespace"], match["name"])

    async def _create_pod(self, request: Request) -> web.StreamResponse:
        pod = await parameters.object_body(request)
        record = self._registry.create_pod(request.match["namespace"], pod)
        return as_json(record.body, 201)

    async def _patch_pod(self, request: Request, subresource: str = "") -> web.StreamResponse:
        patch = await parameters.json_body(request)

        def change(pod: Object) -> Object:
            return parameters.checked(patches.apply(request.content_type, pod, patch))

        return self._update(request, subresource, change)

    async def _put_pod(self, request: Request, subresource: str = "") -> web.StreamResponse:
        pod = await parameters.object_body(request)
        return self._update(request, subresource, lambda _: pod)

    def _update(
        self, request: Request, subresource: str, change: Callable[[Object], Object]
    ) -> web.StreamResponse:
        match = request.match
        record = self._registry.update_pod(match["namespace"], match["name"], subresource, change)
        return as_json(record.body)

    async def _delete_pod(self, request: Request) -> web.StreamResponse:
        options = await parameters.delete_options(request)
        match = request.match
        return as_json(self._registry.delete_pod(match["namespace"], match["name"], options).body)

    async def _delete_pods(self, request: Request) -> web.StreamResponse:
        options = await parameters.delete_options(request)
        selector = parameters.selector(request, PODS)
        records = self._registry.delete_pods(request.match["namespace"], selector, options)
        metadata: dict[str, object] = {"resourceVersion": str(self._store.revision)}
        return as_json(view_for(PODS, "").listing(records, metadata))

    async def _bind_pod(self, request: Request) -> web.StreamResponse:
        binding = await parameters.object_body(request)
        match = request.match
        name = match.get("name") or binding["metadata"].get("name", "")
        self._registry.bind_pod(match["namespace"], name, binding)
        return as_json(status.success(), 201)

    async def _pod_log(self, request: Request) -> web.StreamResponse:
        container = request.query.get("container", "")
        tail_lines = parameters.number(request, "tailLines")
        body = log_of(self._logs, self._pod(request), container, tail_lines)
        return web.Response(body=body, content_type="text/plain")

    async def _create_namespace(self, request: Request) -> web.StreamResponse:
        namespace = await parameters.object_body(request)
        return as_json(self._registry.create_namespace(namespace).body, 201)

    async def _get_namespace(self, request: Request) -> web.StreamResponse:
        name = request.match["name"]
        return as_json(self._store.get(NAMESPACES, "", name).body)

    async def _drop_event(self, request: Request) -> web.StreamResponse:
        """Accept an Event and forget it: nothing in a lab reads events."""
        event = await parameters.object_body(request)
        return as_json(msgspec.json.encode(event), 201)

    async def _no_events(self, _: Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(self._store.revision)}
        answer = {"kind": "EventList", "apiVersion": "v1", "metadata": metadata, "items": []}
        return as_json(msgspec.json.encode(answer))


def log_of(directory: Path, record: Record, container: str, tail_lines: int | None) -> bytes:
    """Return what a pod wrote so far, or its last lines; nothing before it has started.

    Raises ApiError 400 for a container that the pod does not have.
    """
    spec = record.object()["spec"]
    containers = [each["name"] for each in spec["containers"]]
    if container and container not in containers:
        message = f"container {container} is not valid for pod {record.name}"
        raise status.bad_request(message)
    path = directory / f"{record.name}.log"
    if not is_name(record.name) or not path.is_file():
        return b""
    if tail_lines is None:
        return path.read_bytes()
    with path.open("rb") as lines:
        return b"".join(deque(lines, maxlen=tail_lines))
