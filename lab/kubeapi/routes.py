"""Which handler a request is for: aiohttp's low-level server has no routes of its own.

`aiohttp.web.Application` has, and takes a third of a small request's CPU time for them, for its
middlewares and for what else this server has no use for.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from lab.kubeapi.status import ApiError

_NAME = re.compile(r"\{(\w+)\}")


class Request(web.BaseRequest):
    """A request: in `match` what stands in its path for the names in its route's, in `client` who
    asks."""

    match: Mapping[str, str] = {}
    client: str = "unnamed"


Handler = Callable[[Request], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]
"""Method, path and handler; `{name}` in a path stands for one segment of it."""

_Methods = dict[str, Handler]


def as_json(body: bytes, code: int = 200) -> web.Response:
    """Return an answer whose body is JSON already."""
    return web.Response(body=body, status=code, content_type="application/json")


class Router:
    """All routes, by the number of segments in their paths; of those alike the first one counts."""

    def __init__(self, routes: Iterable[Route]) -> None:
        paths: dict[str, _Methods] = {}
        for method, path, handler in routes:
            paths.setdefault(path, {})[method] = handler
        self._by_segments: dict[int, list[tuple[re.Pattern[str], _Methods]]] = {}
        for path, methods in paths.items():
            pattern = re.compile(_NAME.sub(r"(?P<\1>[^/]+)", path))
            self._by_segments.setdefault(path.count("/"), []).append((pattern, methods))

    def handler(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """Return who answers, and what the path has for the route's names.

        Raises ApiError 404 for a path that is not served, 405 for a method that is not.
        """
        for pattern, methods in self._by_segments.get(path.count("/"), ()):
            if found := pattern.fullmatch(path):
                handler = methods.get("GET" if method == "HEAD" else method)
                if handler is None:
                    message = "the server does not allow this method on the requested resource"
                    raise ApiError(405, "MethodNotAllowed", message)
                return handler, _decoded(found.groupdict())
        raise ApiError(404, "NotFound", "the server could not find the requested resource")


def _decoded(match: dict[str, Any]) -> dict[str, str]:
    return {name: unquote(text) if "%" in text else text for name, text in match.items()}
