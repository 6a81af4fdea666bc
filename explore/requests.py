"""Points at the Kubernetes API: a scheduler's request waits there, as its statements elsewhere.

    scheduler --- create --> held before --> processed --> held after --> answer

The lab's own Kubernetes API holds them (`lab.kubeapi`), for as long as who asked for that has its
connections. Nobody sees what a scheduler does in Python until its next statement or request, so a
step is over when it stands again, or after `SOON`.
"""

import time
from collections.abc import Iterable, Sequence
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import msgspec

from chaos.kube_api import ApiRule, Report
from common.errors import UserError
from common.waiting import Deadline
from explore.controller import GRACE, PATIENCE, Controller, Rest, Standing
from explore.points import Point, Requested, Watched, requested
from lab.kubeapi.rules import Rule

SOON = 0.05
"""Seconds that a process has to stand again once its request was let past."""

_LOOK = 0.005


class RequestController(Controller):
    """A controller that holds the requests of `schedulers` to the Kubernetes API too.

    `api` is its URL. Raises UserError where it does not answer.
    """

    def __init__(
        self, dsn: str, points: Iterable[Watched], api: str, schedulers: Sequence[str]
    ) -> None:
        super().__init__(dsn, points)
        self._api = api
        self._schedulers = schedulers
        self._rules: dict[int, tuple[Requested, ApiRule]] = {}
        self._tickets: dict[tuple[int, float], int] = {}
        self._last = 0
        self._link: HTTPConnection | None = None

    def switch(self, points: Iterable[Point]) -> None:
        """Have other points from now on; who is held at a request goes on."""
        points = tuple(points)
        super().switch(points)
        for point in (each for each in points if isinstance(each, Requested)):
            for process in self._schedulers:
                rule = Rule(client=process, do="hold", request=point.verb, when=point.when)
                held = ApiRule(self._api, rule)
                self._rules[held.number] = (point, held)

    def step(
        self, chosen: Standing | None = None, patience: float = PATIENCE, grace: float = GRACE
    ) -> Rest:
        """Let one past, and return when it has come to rest; without one, when somebody comes."""
        if not self._rules:
            return super().step(chosen, patience, grace)
        if chosen is not None and chosen.ticket < 0:
            return self._let_past(chosen)
        news = chosen is None and self._news()
        return self._beside(super().step(chosen, 0.0 if news else patience, grace))

    def cancel(self, who: Standing) -> bool:
        """Have the statement or the request that somebody stands in fail."""
        if who.ticket > 0:
            return super().cancel(who)
        self._release(who, "error")
        return True

    def _release(self, who: Standing, outcome: str) -> None:
        body = msgspec.json.encode({"outcome": outcome})
        self._ask("POST", f"/rules/{who.pid}/release", body)

    def _let_past(self, chosen: Standing) -> Rest:
        before = {each.ticket for each in self._held()}
        self._release(chosen, "go")
        self.steps += 1
        began, deadline = time.monotonic(), Deadline(SOON)
        while True:
            rest = self._beside(super().step(None, _LOOK))
            again = any(
                each.process == chosen.process and each.ticket not in before
                for each in rest.standing
            )
            if again or deadline.passed:
                reason = "arrived" if again else "idle"
                return Rest(reason, time.monotonic() - began, rest.standing)

    def _beside(self, rest: Rest) -> Rest:
        return Rest(rest.reason, rest.waited, (*rest.standing, *self._held()))

    def _news(self) -> bool:
        known = set(self._tickets)
        self._held()
        return not known.issuperset(self._tickets)

    def _held(self) -> list[Standing]:
        """Return whose requests are held: with the number of the rule as `pid`, tickets below 0."""
        began = time.thread_time()
        answer = self._ask("GET", "/rules")
        reports = msgspec.json.decode(answer, type=dict[int, Report])
        there = {
            (number, held.since): held.process
            for number, report in reports.items()
            if number in self._rules
            for held in report.held
        }
        for key in sorted(there.keys() - self._tickets.keys(), key=lambda key: key[1]):
            self._last = self._tickets[key] = self._last - 1
        self._tickets = {key: self._tickets[key] for key in there}
        self.cpu += time.thread_time() - began
        return [
            Standing(self._tickets[key], key[0], there[key], requested(self._rules[key[0]][0]))
            for key in sorted(there, key=lambda key: -self._tickets[key])
        ]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            if self._link is None:
                parts = urlsplit(self._api)
                self._link = HTTPConnection(parts.hostname or "", parts.port, timeout=5.0)
            self._link.request(method, path, body)
            return self._link.getresponse().read()
        except (OSError, HTTPException) as error:
            raise UserError(
                f"The lab's Kubernetes API does not answer at {self._api}.", "Has the lab ended?"
            ) from error

    def _withdraw(self) -> None:
        for _, rule in self._rules.values():
            rule.withdraw()
        self._rules, self._tickets = {}, {}

    def pause(self) -> None:
        """Let everybody go on until `open`."""
        self._withdraw()
        super().pause()

    def close(self) -> None:
        """Let everybody go on, and hold nobody any more."""
        self._withdraw()
        if self._link is not None:
            self._link.close()
        super().close()
