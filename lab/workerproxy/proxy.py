"""Passes requests of workers on, and does to them what rules say.

Headers go through as they are, but for those that are of one connection alone (RFC 9110, 7.6.1);
bodies are neither unpacked nor packed. What the API server does to a connection, the worker sees:
where nobody listens, or the server hangs up, the worker's connection is closed.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from lab.workerproxy.answers import Answered, AnswerLog
from lab.workerproxy.requests import Asked, Reader
from lab.workerproxy.rules import LiveRule, Rules

_OF_A_CONNECTION = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding")
)
_AT_ONCE = 65_536
"""Bytes; an answer that is no longer is written together with its head."""

_ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class Proxy:
    """The way from workers to the API server at `upstream`, such as http://127.0.0.1:8080."""

    def __init__(self, upstream: str, log: AnswerLog, rules: Rules) -> None:
        self._upstream = upstream.rstrip("/")
        self._log = log
        self._rules = rules
        self._reader = Reader()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_ADDED_BY_AIOHTTP,
            auto_decompress=False,
        )

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a worker, and write down what was answered."""
        asked = await self._reader.read(request)
        answered = Answered(0, asked.at, 0, asked.request, asked.ti, asked.state, asked.host)
        try:
            if self._rules.live:
                return await self._by_rule(request, asked, answered)
            return await self._pass_on(request, asked, answered, ())
        except (aiohttp.ClientError, ConnectionError):
            return _cut(request)
        finally:
            answered.t = time.monotonic()
            self._log.write(answered)

    async def _by_rule(
        self, request: web.BaseRequest, asked: Asked, answered: Answered
    ) -> web.StreamResponse:
        struck = await self._rules.struck(asked)
        outcomes = [await rule.stand(asked, "before") for rule in struck]
        deeds = [each.rule.do for each in struck]
        if "drop" in (*outcomes, *deeds):
            return _cut(request)
        if "answer" in (*outcomes, *deeds):
            status = next((each.rule.status for each in struck if each.rule.do == "answer"), 500)
            return await _refuse(request, answered, status)
        return await self._pass_on(request, asked, answered, struck)

    async def _pass_on(
        self,
        request: web.BaseRequest,
        asked: Asked,
        answered: Answered,
        struck: Sequence[LiveRule],
    ) -> web.StreamResponse:
        """Ask the API server, and give the worker what it answers, a long answer piece by piece."""
        body = asked.body
        async with self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers=_passed(request.headers),
            data=request.content if body is None and request.can_read_body else body,
            allow_redirects=False,
        ) as theirs:
            answered.status = theirs.status
            outcomes = [await rule.stand(asked, "after") for rule in struck]
            if "drop" in outcomes or any(rule.rule.do == "lose" for rule in struck):
                await theirs.read()
                return _cut(request)
            if "answer" in outcomes:
                return await _refuse(request, answered, 500)
            head: Any = {
                "status": theirs.status,
                "reason": theirs.reason,
                "headers": _passed(theirs.headers),
            }
            if theirs.content_length is None or theirs.content_length > _AT_ONCE:
                return await _give(request, web.StreamResponse(**head), answered, theirs.content)
            response = web.Response(body=await theirs.read(), **head)
            return await _give(request, response, answered)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


async def _give(
    request: web.BaseRequest,
    response: web.StreamResponse,
    answered: Answered,
    content: aiohttp.StreamReader | None = None,
) -> web.StreamResponse:
    """Write an answer to the worker's connection; ConnectionError where the worker is gone."""
    await response.prepare(request)
    if content is not None:
        async for piece in content.iter_any():
            await response.write(piece)
    await response.write_eof()
    answered.given = True
    return response


async def _refuse(request: web.BaseRequest, answered: Answered, status: int) -> web.StreamResponse:
    """Answer in the API server's place."""
    answered.status, answered.by = status, "fault"
    body = b'{"detail": "a fault, and not the API server"}'
    response = web.Response(status=status, body=body, content_type="application/json")
    return await _give(request, response, answered)


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _OF_A_CONNECTION
    )


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    """Close a worker's connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
