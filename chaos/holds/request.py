"""A hold at the Kubernetes API: a process' request waits before it is processed, or answered."""

import logging
from dataclasses import dataclass, field
from typing import Self

from chaos.base import Record, require, silent
from chaos.holds.hold import HoldError
from chaos.kube_api import ApiRule, HeldRequest
from common.errors import UserError
from common.waiting import until
from lab.kubeapi.rules import VERBS, WHENS, Rule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RequestPoint:
    """Where a process is held: at its requests of a verb, about pods by name or labels.

    `when` is before a request is processed, or after, when only its answer is still to be sent.
    """

    request: str = "create"
    when: str = "before"
    pods: str = "*"
    labels: str = ""

    def __post_init__(self) -> None:
        verbs = ", ".join(VERBS)
        require(self.request in VERBS, f"There is no request {self.request!r}: {verbs}.")
        require(self.when in WHENS, f"It is {' or '.join(WHENS)}, not {self.when!r}.")

    @property
    def name(self) -> str:
        """Return what histories call it."""
        which = [each for each in (self.pods, self.labels) if each not in ("*", "")]
        return " ".join([f"{self.request} of pods", *which])

    @property
    def place(self) -> str:
        """Say where in a request that is."""
        return "before it is processed" if self.when == "before" else "before its answer is sent"

    def rule(self, process: str) -> Rule:
        """Return the rule that holds a process there."""
        where = {"request": self.request, "when": self.when, "pods": self.pods}
        return Rule(client=process, do="hold", labels=self.labels, **where)  # type: ignore[arg-type]


@dataclass(eq=False)
class RequestHold:
    """Holds a process at each request that comes to a point, as `chaos.holds.hold.Hold` does.

    `process` is the name by which the process asks, in which `*` and `?` stand for any. It lasts
    for as long as this object's connection lives: a controller that dies releases everybody. What
    is held is processed once it is released, also where its client has given up: it had been sent.
    """

    api: str
    process: str
    point: RequestPoint
    record: Record = field(default=silent, kw_only=True)
    _rule: ApiRule | None = field(default=None, init=False)

    def hold(self) -> None:
        """Hold whoever comes to the point from now on; does nothing when it does."""
        if self._rule is None:
            self._rule = ApiRule(self.api, self.point.rule(self.process))
            self.record("hold", self.point.name, self.process, self.point.place)

    def release(self) -> None:
        """Let everyone go on, and hold nobody any more; does nothing when that is so."""
        if self._rule is not None:
            rule, self._rule = self._rule, None
            noted = "" if rule.withdraw() else "it had ended before: the Kubernetes API was gone"
            self.record("release", self.point.name, self.process, noted)

    def held(self) -> list[HeldRequest]:
        """Return who is held now, the one who came first at the front; HoldError if released."""
        try:
            return list(self._in_force().report().held)
        except HoldError:
            raise
        except UserError as error:
            raise HoldError(f"{self.process} is held no longer: {error.message}") from error

    def wait_held(
        self,
        newer_than: float | None = None,  # noqa: ARG002 - a request has no snapshot to be too old
        timeout: float = 30.0,
        interval: float = 0.02,
    ) -> HeldRequest:
        """Return the request that is held, the one who came first.

        Polls each `interval` seconds; raises HoldError after `timeout` seconds.
        """
        found = until(self.held, timeout, interval)
        if not found:
            raise HoldError(
                f"{self.process} was not held within {timeout:g} s at {self.point.name}.",
                "Is it running, and is there work that makes it send that request?",
            )
        self.record("held", self.point.name, found[0].process, found[0].text)
        return found[0]

    def let_pass(self, now: float, timeout: float) -> None:
        """Let pass what is held, waiting for it if need be; the next request is held again."""
        self.wait_held(now, timeout)
        self._in_force().release()

    def cancel(self) -> None:
        """Have what is held fail by a 500, as an API server in trouble would."""
        self._end_held("cancel", "error")

    def terminate(self) -> None:
        """Have the connection of what is held closed, as an API server that goes would."""
        self._end_held("terminate", "drop")

    def _end_held(self, op: str, outcome: str) -> None:
        held = self.held()
        if not held:
            raise HoldError(f"{self.process} is not held now at {self.point.name}.")
        self._in_force().release(outcome)
        for each in held:
            self.record(op, self.point.name, each.process, each.text)

    def _in_force(self) -> ApiRule:
        if self._rule is None:
            raise HoldError(f"Nothing holds {self.process} now.", "Hold it first.")
        return self._rule

    def __enter__(self) -> Self:
        self.hold()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.release()
