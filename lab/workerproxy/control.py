"""Takes rules, as JSON over HTTP.

POST   /rules             a rule; answers {"key": n} and goes on, and the rule is in force until
                          the connection ends
GET    /rules/<key>       {"struck": n, "held": [{"ti", "request", "state", "host", "since"}]}
POST   /rules/<key>/pass  lets go who waits now, or with {"before": unix seconds} who came before
                          then; with {"outcome": "drop"} its connection is closed, with "answer" it
                          is answered 500. Who comes next waits again. Answers {"gone": n}
DELETE /rules/<key>       ends the rule; the answer to its POST ends too
"""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from lab.workerproxy.rules import LiveRule, Outcome, RequestRule, Rules


class _Pass(msgspec.Struct, forbid_unknown_fields=True):
    before: float | None = None
    outcome: Outcome = "pass"


_Deed = Callable[[int, LiveRule, bytes], dict[str, Any]]


class Control:
    """The HTTP side of the rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._deeds: dict[tuple[str, str], _Deed] = {
            ("GET", ""): lambda _, live, __: live.report(),
            ("POST", "pass"): _pass,
            ("DELETE", ""): self._end,
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Do what a request asks for."""
        try:
            return await self._answer(request)
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        first, key, deed, *more = [*request.path.strip("/").split("/"), "", ""]
        if (first, key, request.method) == ("rules", "", "POST"):
            return await self._put(request)
        do = None if first != "rules" or any(more) else self._deeds.get((request.method, deed))
        if do is None:
            return _json({"error": "there is no such request"}, 404)
        live = self._rules.live.get(int(key)) if key.isdigit() else None
        if live is None:
            return _json({"error": f"there is no rule {key}"}, 404)
        return _json(do(int(key), live, await request.read()))

    def _end(self, key: int, live: LiveRule, _: bytes) -> dict[str, Any]:
        self._rules.remove(key)
        return live.report()

    async def _put(self, request: web.BaseRequest) -> web.StreamResponse:
        key = self._rules.add(msgspec.json.decode(await request.read(), type=RequestRule))
        ended = self._rules.live[key].ended
        try:
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            await response.write(msgspec.json.encode({"key": key}) + b"\n")
            await ended.wait()
        finally:
            self._rules.remove(key)
        return response


def _pass(_: int, live: LiveRule, body: bytes) -> dict[str, Any]:
    wanted = msgspec.json.decode(body or b"{}", type=_Pass)
    return {"gone": live.let_go(wanted.outcome, wanted.before)}


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, status=status, content_type="application/json")
