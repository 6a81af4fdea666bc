"""How rules are set, over the same port; no client of Kubernetes asks for these paths.

    POST   /rules                  a rule, as JSON
    GET    /rules/NUMBER           what it struck, and who is held
    GET    /rules                  the same of all rules, by their numbers
    POST   /rules/NUMBER/release   {"outcome": "go"|"error"|"drop"}
    DELETE /rules/NUMBER           end it, and say what it did

A rule is in force once a line says its number, and for as long as that answer's connection lives:
who set it and is killed heals it. A release is for those who are held now: they go on, or fail; the
rule stays.
"""

from typing import Literal

import msgspec
from aiohttp import web

from lab.kubeapi import status
from lab.kubeapi.routes import Request, Route, as_json
from lab.kubeapi.rules import InForce, Rule, Rules


class _Release(msgspec.Struct, forbid_unknown_fields=True):
    outcome: Literal["go", "error", "drop"]


class Control:
    """Sets and withdraws rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def routes(self) -> list[Route]:
        """Return what is served under /rules."""
        return [
            ("POST", "/rules", self._put),
            ("GET", "/rules", self._reports),
            ("GET", "/rules/{number}", self._report),
            ("DELETE", "/rules/{number}", self._withdraw),
            ("POST", "/rules/{number}/release", self._release),
        ]

    async def _put(self, request: Request) -> web.StreamResponse:
        try:
            rule = msgspec.json.decode(await request.read(), type=Rule)
        except msgspec.DecodeError as error:
            raise status.bad_request(f"not a rule: {error}") from None
        made = self._rules.put(rule)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await response.write(b'{"rule":%d}\n' % made.number)
            await made.over.wait()
        finally:
            self._rules.withdraw(made.number)
        return response

    def _rule(self, request: Request) -> InForce:
        number = request.match["number"]
        made = self._rules.in_force.get(int(number)) if number.isdecimal() else None
        if made is None:
            raise status.not_found("rules", number)
        return made

    async def _report(self, request: Request) -> web.StreamResponse:
        return as_json(msgspec.json.encode(self._rule(request).report()))

    async def _reports(self, _: Request) -> web.StreamResponse:
        reports = {number: made.report() for number, made in self._rules.in_force.items()}
        return as_json(msgspec.json.encode(reports))

    async def _withdraw(self, request: Request) -> web.StreamResponse:
        made = self._rule(request)
        report = made.report()
        self._rules.withdraw(made.number)
        return as_json(msgspec.json.encode(report))

    async def _release(self, request: Request) -> web.StreamResponse:
        made = self._rule(request)
        try:
            asked = msgspec.json.decode(await request.read(), type=_Release)
        except msgspec.DecodeError as error:
            raise status.bad_request(f"not a release: {error}") from None
        made.release(asked.outcome)
        return as_json(msgspec.json.encode(made.report()))
