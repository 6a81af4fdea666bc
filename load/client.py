"""One logged-in user of Airflow's API inside Locust.

Importing this imports Locust, which patches the standard library: only the locustfile may.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import gevent
import msgspec
from gevent.lock import Semaphore
from locust import FastHttpUser

from lab.api import Login, reason
from load.plan import Asked
from load.tally import Tally

RETRY_SECONDS = 1.0
NO_SUCH_ROUTE = (b'"API route not found"', b'"Not Found"')


class Answer(NamedTuple):
    """What the API server said; status 0 means that it said nothing.

    For a path under no route the server has the UI's own page, with a 200: `html`.
    """

    status: int
    body: bytes
    html: bool

    @property
    def ok(self) -> bool:
        """Whether the call did what it was for."""
        return 200 <= self.status < 300 and not self.html

    @property
    def words(self) -> str:
        """What went wrong, in the server's own words, its status first."""
        told = "a page of the UI" if self.html else reason(self.body)
        return f"{self.status}: {told}"

    @property
    def absent(self) -> bool:
        """Whether this Airflow has no such route, which is not to be had for a missing object."""
        return self.html or (self.status == 404 and any(w in self.body for w in NO_SUCH_ROUTE))


Accept = Callable[[Answer], bool]


class Complaint(Exception):
    """What was wrong with an answer; a worker tells its master the `repr` of it."""

    def __repr__(self) -> str:
        return str(self)


class AirflowUser(FastHttpUser):
    """Somebody who is logged in as SimpleAuthManager's all-admins user, or as `Login` says."""

    abstract = True
    asked: ClassVar[Asked]
    tally: ClassVar[Tally]
    patience: ClassVar[float]
    leave: ClassVar[Callable[[], object]]
    login: ClassVar[Semaphore] = Semaphore()

    def call(
        self,
        method: str,
        route: str,
        values: Mapping[str, str] | None = None,
        body: Any = None,
        accept: Accept = lambda _: False,
    ) -> Answer:
        """Make one call; an answer that `accept` takes is not counted as a failure.

        A token that is not honoured any more is asked for again, once.
        """
        path = route.format_map(values or {})
        answer = self._call(method, route, path, body, lambda a: a.status == 401 or accept(a))
        if answer.status == 401:
            self.tally.token = None
            answer = self._call(method, route, path, body, accept)
        return answer

    def _call(self, method: str, route: str, path: str, body: Any, accept: Accept) -> Answer:
        headers = {"Authorization": f"Bearer {self.token()}"}
        name = route.partition("?")[0]
        with self.client.request(
            method, path, name=name, headers=headers, json=body, catch_response=True
        ) as response:
            answer = _read(response)
            if answer.ok or accept(answer):
                response.success()
            else:
                response.failure(Complaint(_complaint(answer, response)))
        return answer

    def token(self) -> str:
        """Return the token that all users share; ends the flood where none is to be had."""
        with self.login:
            deadline = time.monotonic() + self.patience
            while self.tally.token is None and self.tally.error is None:
                self._log_in(deadline)
        if self.tally.token is None:
            type(self).leave()
            raise gevent.GreenletExit
        return self.tally.token

    def _log_in(self, deadline: float) -> None:
        """Try once, and give up past the deadline."""
        who = Login.from_environment()
        if who.token:
            self.tally.token = who.token
            return
        method, body = who.request()
        with self.client.request(method, "/auth/token", json=body, catch_response=True) as response:
            answer = _read(response)
            if answer.ok:
                self.tally.token = msgspec.json.decode(answer.body)["access_token"]
                return
            response.failure(Complaint(_complaint(answer, response)))
        if self.tally.hopeless(answer.status) or time.monotonic() + RETRY_SECONDS >= deadline:
            self.tally.error = f"no token from /auth/token ({_complaint(answer, response)})"
        else:
            gevent.sleep(RETRY_SECONDS)


def _read(response: Any) -> Answer:
    kind = (response.headers or {}).get("content-type", "")
    return Answer(response.status_code, response.content or b"", "text/html" in kind)


def _complaint(answer: Answer, response: Any) -> str:
    if not answer.status:
        error = getattr(response.error, "original", None) or response.error
        return f"no answer: {type(error).__name__}"
    words = "a page of the UI" if answer.html else answer.body[:160].decode(errors="replace")
    return f"{answer.status}: {words}"
