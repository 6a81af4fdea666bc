"""What faults and holds of workers' requests share: a rule of the lab's `lab.workerproxy`."""

import json
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import requests

from chaos.base import ANY_WORKER, Fault, Injection, require
from common.errors import UserError
from lab.base import Lab

_TIMEOUT = 5.0


class RequestRule:
    """A rule that lives and dies with this object's connection; see `lab.workerproxy.rules`.

    When this process is killed, the proxy sees the connection end, and the rule is over. Raises
    UserError where the proxy refuses the rule, or does not answer.
    """

    def __init__(self, lab: Lab, **rule: Any) -> None:
        self._control = lab.request_control
        self._session = requests.Session()
        self._session.trust_env = False
        # Whoever lets go of this lets go of the connection.
        self._lines = self._ask("POST", "rules", json=rule, stream=True).iter_lines()
        self._key = int(json.loads(next(self._lines))["key"])

    def report(self) -> dict[str, Any]:
        """Return how many requests were struck, and who is held; UserError where it is over."""
        report: dict[str, Any] = self._ask("GET", f"rules/{self._key}").json()
        return report

    def let_go(self, outcome: str = "pass", before: float | None = None) -> int:
        """Let go who is held now, or of these who came `before` then (unix seconds); count them.

        `outcome` is one of `lab.workerproxy.rules.Outcome`.
        """
        wanted = {"outcome": outcome, "before": before}
        return int(self._ask("POST", f"rules/{self._key}/pass", json=wanted).json()["gone"])

    def withdraw(self) -> str:
        """End the rule; return that it had ended before, where the proxy was not there any more."""
        try:
            self._ask("DELETE", f"rules/{self._key}")
        except UserError as error:
            return f"it had ended before: {error.message}"
        finally:
            self._session.close()
        return ""

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, f"{self._control}/{path}", timeout=_TIMEOUT, **options
            )
        except requests.RequestException as error:
            raise UserError(
                "The proxy of workers' requests does not answer.",
                "Look at its log, workerproxy.log; the lab may have ended.",
            ) from error
        if not answer.ok:
            said = answer.json()["error"]
            raise UserError(f"The proxy of workers' requests refuses: {said}.")
        return answer


@dataclass(frozen=True)
class WorkerRequestFault(Fault[Lab]):
    """Does something to requests that workers send to the API server.

    `request` (`run`, `state`, `heartbeat` ..), `state` (what the worker says it is in) and `of` (a
    task's id, or DAG.TASK) are patterns with `*` and `?`. With `count`, only so many are struck.
    """

    process: str = field(default=ANY_WORKER, init=False)
    request: str = field(default="*", kw_only=True)
    state: str = field(default="*", kw_only=True)
    of: str = field(default="*", kw_only=True)
    count: int | None = field(default=None, kw_only=True)

    powers = ("worker-requests",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.count is None or self.count > 0, "At least 1 request must be struck.")

    @property
    @abstractmethod
    def rule(self) -> dict[str, Any]:
        """What is done to them: the fields of the rule that make the fault."""

    @property
    def whose(self) -> str:
        """Name the requests that are meant, for `detail`."""
        named = " ".join(each for each in (self.request, self.state) if each != "*")
        of = "" if self.of == "*" else f" of {self.of}"
        most = "" if self.count is None else f", {self.count} of them"
        return f"{named or 'all'} requests{of}{most}"

    def inject(self, at: Injection[Lab]) -> None:
        """Put the rule in force."""
        meant = {"request": self.request, "state": self.state, "of": self.of, "count": self.count}
        at.kept = RequestRule(at.lab, **meant, **self.rule)

    def fired(self, at: Injection[Lab]) -> bool:
        """Tell whether a request was struck."""
        return bool(at.kept.report()["struck"])

    def heal(self, at: Injection[Lab]) -> str | None:
        """Withdraw the rule; who waits goes on."""
        rule: RequestRule | None = at.kept
        at.kept = None
        return rule.withdraw() if rule else None
