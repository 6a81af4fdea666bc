"""One logged-in user of Airflow's API inside Locust.

Importing this imports Locust, which patches the standard library: only the locustfile may.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import gevent
import msgspec
from gevent.lock import Semaphore
from locust import FastHttpUser

from common.waiting import Deadline
from lab.api import Login, reason
from load.plan import Asked
from load.tally import Tally

RETRY_SECONDS = 1.0
NO_SUCH_ROUTE = (b'"API route not found"', b'"Not Found"')


class Answer(NamedTuple):
    """What the API server said; status 0 means that it said nothing, `silence` why.

    For a path under no route the server has the UI's own page, with a 200: `html`.
    """

    status: int
    body: bytes
    html: bool
    silence: str = ""

    @property
    def ok(self) -> bool:
        """Whether the call did what it was for."""
        return 200 <= self.status < 300 and not self.html

    @property
    def words(self) -> str:
        """What went wrong, in the server's own words, its status first."""
        return f"{self.status}: {'a page of the UI' if self.html else reason(self.body)}"

    @property
    def complaint(self) -> str:
        """What is counted as an error: the beginning of what the server said."""
        if not self.status:
            return f"no answer: {self.silence}"
        said = "a page of the UI" if self.html else self.body[:160].decode(errors="replace")
        return f"{self.status}: {said}"

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
        return self._ask(method, path, accept, name=name, headers=headers, json=body)

    def _ask(self, method: str, path: str, accept: Accept, **request: Any) -> Answer:
        with self.client.request(method, path, catch_response=True, **request) as response:
            answer = _read(response)
            if answer.ok or accept(answer):
                response.success()
            else:
                response.failure(Complaint(answer.complaint))
        return answer

    def token(self) -> str:
        """Return the token that all users share; ends the flood where none is to be had."""
        with self.login:
            deadline = Deadline(self.patience)
            while self.tally.token is None and self.tally.error is None:
                self._log_in(deadline)
        if self.tally.token is None:
            type(self).leave()
            raise gevent.GreenletExit
        return self.tally.token

    def _log_in(self, deadline: Deadline) -> None:
        """Try once, and give up past the deadline."""
        who = Login.from_environment()
        if who.token:
            self.tally.token = who.token
            return
        method, body = who.request()
        answer = self._ask(method, "/auth/token", lambda _: False, json=body)
        if answer.ok:
            self.tally.token = msgspec.json.decode(answer.body)["access_token"]
        elif self.tally.hopeless(answer.status) or deadline.left <= RETRY_SECONDS:
            self.tally.error = f"no token from /auth/token ({answer.complaint})"
        else:
            gevent.sleep(RETRY_SECONDS)


def _read(response: Any) -> Answer:
    kind = (response.headers or {}).get("content-type", "")
    error = getattr(response, "error", None)
    error = getattr(error, "original", None) or error
    html = "text/html" in kind
    return Answer(response.status_code, response.content or b"", html, type(error).__name__)
