"""A hold at a worker's request: on its way to the API server, or on the way back."""

import logging
from dataclasses import dataclass, field
from typing import Self

import msgspec

from chaos.base import ANY_WORKER, Record, silent
from chaos.holds.hold import HoldError
from chaos.worker_requests import RequestRule
from common.waiting import until
from lab.base import Lab

log = logging.getLogger(__name__)

PLACES = {
    "before": "before the API server gets it",
    "after": "with the API server's answer",
}


class HeldWorkerRequest(msgspec.Struct, frozen=True):
    """A request that is held: of which row, which, what it says, and since when (unix seconds)."""

    ti: str
    request: str
    state: str | None
    host: str | None
    since: float

    @property
    def text(self) -> str:
        """Say which request it is."""
        said = f" {self.state}" if self.state else ""
        return f"{self.request}{said} of {self.ti}"


@dataclass(eq=False)
class WorkerRequestHold:
    """Holds each request of a worker that fits, as `chaos.holds.hold.Hold` holds statements.

    `request`, `state` and `of` are patterns, as of `chaos.worker_requests.WorkerRequestFault`;
    `when` is a key of `PLACES`. It lasts for as long as this object's connection to the proxy.
    """

    lab: Lab
    request: str
    state: str = "*"
    of: str = "*"
    when: str = "before"
    record: Record = field(default=silent, kw_only=True)
    process: str = field(default=ANY_WORKER, init=False)
    _rule: RequestRule | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """What histories call the point: `state-request`."""
        return f"{self.request}-request"

    def hold(self) -> None:
        """Hold whoever asks from now on; does nothing when it does."""
        if self._rule is None:
            self._rule = RequestRule(
                self.lab,
                do="hold",
                request=self.request,
                state=self.state,
                of=self.of,
                when=self.when,
            )
            self.record("hold", self.name, self.process, PLACES[self.when])

    def release(self) -> None:
        """Let everyone go on, and hold nobody any more; does nothing when that is so."""
        if self._rule is not None:
            rule, self._rule = self._rule, None
            self.record("release", self.name, self.process, rule.withdraw())

    def held(self) -> list[HeldWorkerRequest]:
        """Return the requests that are held now, the first one at the front.

        Raises HoldError when the hold is released, UserError when the proxy is gone.
        """
        return msgspec.convert(self._in_force().report()["held"], list[HeldWorkerRequest])

    def wait_held(
        self, newer_than: float | None = None, timeout: float = 30.0, interval: float = 0.02
    ) -> HeldWorkerRequest:
        """Return the request that is held and came after `newer_than`, in unix seconds.

        Older ones are let pass. Raises HoldError after `timeout` seconds.
        """
        held = until(lambda: self._newer_than(newer_than), timeout, interval)
        if held is None:
            of = "" if self.of == "*" else f" of {self.of}"
            raise HoldError(
                f"No {self.request} request{of} was held within {timeout:g} s.",
                "Did such a worker run, and come so far?",
            )
        self.record("held", self.name, self.process, held.text)
        return held

    def _newer_than(self, moment: float | None) -> HeldWorkerRequest | None:
        """Return the first that came after a moment; let older ones pass."""
        found = self.held()
        for held in found:
            if moment is None or held.since > moment:
                return held
        if found:
            self._in_force().let_go(before=moment)
        return None

    def let_pass(self, _now: float, timeout: float) -> None:
        """Let pass what is held, waiting for it if need be; the next request is held again."""
        self.wait_held(timeout=timeout)
        self._in_force().let_go()

    def cancel(self) -> None:
        """Have what is held answered by a 500, as an API server in trouble would."""
        self._end_held("cancel", "answer")

    def terminate(self) -> None:
        """Have the connection of what is held closed, as an API server that goes would."""
        self._end_held("terminate", "drop")

    def _end_held(self, op: str, outcome: str) -> None:
        if not self._in_force().let_go(outcome):
            raise HoldError(f"No {self.request} request is held now.")
        self.record(op, self.name, self.process, "")

    def _in_force(self) -> RequestRule:
        if self._rule is None:
            raise HoldError(f"Nothing holds the {self.request} requests now.", "Hold them first.")
        return self._rule

    def __enter__(self) -> Self:
        self.hold()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.release()
