"""Is a success that was acknowledged to a worker stored as one?"""

from collections.abc import Iterable

from oracle.events import AnswerEvent, End, Header, TaskInstanceEvent, TaskInstanceKey
from oracle.invariants.base import Invariant, Violation
from oracle.states import RUNNING, SUCCESS, shown

SETTLE_SECONDS = 5.0
"""How long after its acknowledgement a success may be unseen: the commit comes before the answer,
or right after it."""


class SuccessStands(Invariant):
    """A worker that reported success, and was told that all is well, has nothing left to do.

    Nobody will report again: its work is done, and whoever stores another state for it has the
    work done once more, or what waits for it fail. Whatever befell the API server meanwhile, a
    statement that failed, a lost connection: then it must say so, and the worker tries again.
    Later moves out of SUCCESS are for legal-transition to judge. Told by the proxy that stands
    between workers and the API server, where a lab has one.
    """

    name = "success-stands"
    promise = "A success that the API server acknowledged to a worker is stored as a success"
    evidence = AnswerEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._running: set[int] = set()
        self._otherwise: dict[TaskInstanceKey, TaskInstanceEvent] = {}
        self._acknowledged: dict[TaskInstanceKey, AnswerEvent] = {}
        self._judged = 0
        self._end = float("-inf")

    def heeds_ti(self, event: TaskInstanceEvent) -> bool:
        """Want what begins to run, and what ends that."""
        states = [row.state if row else None for row in (event.old, event.new)]
        return RUNNING in states and states[0] != states[1]

    def on_ti(self, event: TaskInstanceEvent) -> Iterable[Violation]:
        """Follow what is stored, before or after the worker is answered."""
        if not self.heeds_ti(event):
            return ()
        self._otherwise.pop(event.ti, None)
        if event.new is not None and event.new.state == RUNNING:
            self._running.add(hash(event.ti))
            return ()
        self._running.discard(hash(event.ti))
        if event.new is None or event.new.state == SUCCESS:
            self._acknowledged.pop(event.ti, None)
            return ()
        if answer := self._acknowledged.pop(event.ti, None):
            return self._lost(answer, event)
        self._otherwise[event.ti] = event
        return ()

    def on_answer(self, event: AnswerEvent) -> Iterable[Violation]:
        """Compare an acknowledgement with what is stored; with what will be, if nothing is yet."""
        told = event.request == "state" and event.state == SUCCESS and event.acknowledged
        if event.ti is None or not told:
            return ()
        self._judged += 1
        if stored := self._otherwise.pop(event.ti, None):
            return self._lost(event, stored)
        if hash(event.ti) in self._running:
            self._acknowledged[event.ti] = event
        return ()

    def _lost(self, answer: AnswerEvent, stored: TaskInstanceEvent) -> Iterable[Violation]:
        assert stored.new is not None
        tries = ""
        if stored.new.try_number <= stored.new.max_tries:
            tries = f", at try {stored.new.try_number} of {1 + stored.new.max_tries}"
        fact = (
            f"its worker was answered {answer.status} and {stored.process} stored "
            f"{shown(RUNNING)} -> {shown(stored.new.state)}{tries}"
        )
        if answer.t < stored.t:
            return (self.violation(fact, stored.ti, stored.t, answer, stored),)
        return (self.violation(fact, stored.ti, answer.t, stored, answer),)

    def on_end(self, event: End) -> None:
        """Take note of when the history ends."""
        self._end = event.t

    def finish(self) -> Iterable[Violation]:
        """Report what was acknowledged and is not stored."""
        for ti, answer in self._acknowledged.items():
            if (late := self._end - answer.t) > SETTLE_SECONDS:
                fact = (
                    f"its worker was answered {answer.status} and it is RUNNING {late:.0f} s later"
                )
                yield self.violation(fact, ti, answer.t, answer)

    def judged(self) -> int | None:
        """Count the successes that were acknowledged."""
        return self._judged
