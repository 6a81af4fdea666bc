"""What the rules do to requests: they are late, held, refused, or lose their connection.

request --> rules "before" --> processed --> rules "after" --> answer
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote

import msgspec
from aiohttp import web

from lab.kubeapi import parameters
from lab.kubeapi.pods import PODS
from lab.kubeapi.routes import Handler, Request, as_json
from lab.kubeapi.rules import Asked, InForce, Rule, Rules
from lab.kubeapi.status import ApiError
from lab.kubeapi.store import Store

_OF_PODS = re.compile(r"/api/v1/(?:namespaces/([^/]+)/)?pods(?:/([^/]+))?")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_OF_MANY = {"DELETE": "deletecollection", "GET": "list", "HEAD": "list"}
_OF_ONE = {"DELETE": "delete", "GET": "get", "HEAD": "get"}

_CHANGED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
# By what a kube-apiserver refuses requests for a while, as it words it.
_REASONS = {
    403: ("Forbidden", 'pods "{}" is forbidden: exceeded quota: lab, requested: pods=1'),
    409: ("Conflict", f'Operation cannot be fulfilled on pods "{{}}": {_CHANGED}'),
    500: ("InternalError", "Internal error occurred: etcdserver: leader changed"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}
# A new pod is counted by a quota, which others count by too; and it may have been made just now.
_OF_CREATE = {
    "before": ("Conflict", f'Operation cannot be fulfilled on resourcequotas "lab": {_CHANGED}'),
    "after": ("AlreadyExists", 'pods "{}" already exists'),
}
# This one alone is no Status: it is written by a filter that stands before the API.
_TOO_MANY = b"Too many requests, please try again later.\n"


class _Metadata(msgspec.Struct):
    name: str | None = None
    generateName: str | None = None  # noqa: N815 - Kubernetes' name
    labels: Mapping[str, str] | None = None


class _Posted(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class Disturbing:
    """Answers requests as the rules in force have it."""

    def __init__(self, rules: Rules, store: Store) -> None:
        self._rules = rules
        self._store = store
        self._tasks: set[asyncio.Task[web.StreamResponse]] = set()

    async def answer(self, request: Request, path: str, handler: Handler) -> web.StreamResponse:
        """Answer a request; one that is held is processed also if its client has hung up.

        So it is with one that is on its way. A watch ends with its client.
        """
        asked = await self._asked(request, path)
        if asked is None:
            return await handler(request)
        if asked.verb == "watch":
            return await self._meet("before", asked, request) or await handler(request)
        task = asyncio.ensure_future(self._through(asked, request, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _asked(self, request: Request, path: str) -> Asked | None:
        """Return what is asked about pods; None for a request about anything else."""
        found = _OF_PODS.fullmatch(path)
        if found is None:
            return None
        namespace, pod = (unquote(text or "") for text in found.groups())
        verb = _verb(request, pod)
        if verb == "create":
            with suppress(web.HTTPRequestEntityTooLarge, msgspec.DecodeError):
                metadata = msgspec.json.decode(await request.read(), type=_Posted).metadata
                name = metadata.name or metadata.generateName or ""
                return Asked(request.client, verb, name, metadata.labels or {})
        with suppress(ApiError):
            labels = self._store.get(PODS, namespace, pod).labels
            return Asked(request.client, verb, pod, labels)
        return Asked(request.client, verb, pod)

    async def _through(
        self, asked: Asked, request: Request, handler: Handler
    ) -> web.StreamResponse:
        if refused := await self._meet("before", asked, request):
            return refused
        try:
            answer = await handler(request)
        except ApiError as error:
            answer = as_json(error.body(), error.code)
        return await self._meet("after", asked, request) or answer

    async def _meet(self, when: str, asked: Asked, request: Request) -> web.Response | None:
        """Do what the rules have for a request; return the answer where they have one."""
        for rule in self._rules.of(asked.client, "delay", "hold", "error", "drop"):
            if rule.rule.when == when and rule.strikes(asked):
                deed = await _done(rule, asked)
                if deed == "drop":
                    return _dropped(request)
                if deed == "error":
                    return _refusal(rule.rule, asked)
        return None


async def _done(rule: InForce, asked: Asked) -> str:
    """Wait as long as a rule has a request wait; return what becomes of it then."""
    deed = rule.rule.do
    if deed == "delay":
        await rule.sleep()
    return await rule.hold(asked) if deed == "hold" else deed


def _verb(request: Request, pod: str) -> str:
    if verb := _VERBS.get(request.method):
        return verb
    if not pod and request.method != "DELETE" and parameters.flag(request, "watch"):
        return "watch"
    return (_OF_ONE if pod else _OF_MANY).get(request.method, "")


def _dropped(request: Request) -> web.Response:
    """Close the connection; the answer that is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(rule: Rule, asked: Asked) -> web.Response:
    after, code = rule.retry_after, rule.code
    if code == 429:
        answer = web.Response(body=_TOO_MANY, status=code, content_type="text/plain")
        after = 1 if after is None else after
    else:
        of_create = (code, asked.verb) == (409, "create")
        reason, message = _OF_CREATE[rule.when] if of_create else _REASONS[code]
        details = {"name": asked.pod, "kind": "pods"}
        error = ApiError(code, reason, message.format(asked.pod), details)
        answer = as_json(error.body(), code)
    if after is not None:
        answer.headers["Retry-After"] = str(after)
    return answer
