"""Does the API server answer workers without errors of its own while nothing disturbs it?"""

from collections.abc import Iterable

from oracle.events import AnswerEvent, FaultEvent, Header, HoldEvent
from oracle.invariants.base import Disturbances, Invariant, Violation

SERVER_ERROR = 500


class NoServerError(Invariant):
    """An answer 5xx is an error that nobody handled: in the code, or between two transactions.

    Workers try again, so that it hides: their request is done twice, or given up when it was the
    last. While a fault or a hold is on, whoever it strikes, and for `SETTLE_SECONDS` after, it may
    come of that; the answers of a fault in the API server's place are not its own.
    """

    name = "no-server-error"
    promise = "Undisturbed, the API server answers no worker with a server error"
    evidence = AnswerEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._disturbances = Disturbances()
        self._judged = 0

    def on_answer(self, event: AnswerEvent) -> Iterable[Violation]:
        """Report an undisturbed server error."""
        if event.status is None or event.by != "api-server":
            return ()
        self._judged += 1
        if event.status < SERVER_ERROR or self._disturbances.excuse(event.t):
            return ()
        said = f" ({event.state})" if event.state else ""
        of = f" of {event.ti}" if event.ti else ""
        fact = f"it answered {event.status} to the request {event.request}{said}{of}"
        return (self.violation(fact, event.ti, event.t, event),)

    def on_fault(self, event: FaultEvent | HoldEvent) -> None:
        """Follow what disturbs, and until when."""
        self._disturbances.feed(event)

    on_hold = on_fault

    def judged(self) -> int | None:
        """Count the API server's answers."""
        return self._judged
