"""Does a DAG run end once?"""

from collections.abc import Iterable

from oracle.events import DagRunEvent, Header
from oracle.invariants.base import Invariant, Violation
from oracle.states import RUN_FINISHED, shown

REMEMBERED = 1000
"""Of so many runs it is known who finished them first: a second end follows within seconds."""


class RunEndsOnce(Invariant):
    """A run's end calls back, emits events, and sets off what waits for it: twice is once too much.

    Schedulers finish a run that they have locked (`DagRun.update_state`). One that does so with a
    stale run in hand finishes it again: its row keeps the state and gets another end, or another
    state; or it is at work again. A user may clear a finished run or mark it, through the API
    server, and it ends again.
    """

    name = "run-ends-once"
    promise = "A DAG run ends once, and no scheduler takes a finished run back"
    evidence = DagRunEvent

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._ends: dict[tuple[str, str], DagRunEvent] = {}

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Look at what a scheduler does to a finished run."""
        if event.new in RUN_FINISHED and event.old not in RUN_FINISHED:
            self._remember(event)
        if event.old not in RUN_FINISHED or event.new is None:
            return ()
        if not self.is_scheduler(event.process):
            return ()
        if event.new not in RUN_FINISHED:
            did = "took it back"
        elif event.new != event.old:
            did = "finished it as another"
        elif event.new_end != event.old_end:
            did = "finished it again"
        else:
            return ()
        fact = f"{event.process} {did}: {_what(event)}"
        first = self._ends.get((event.dag_id, event.run_id))
        witness = (event,) if first is None else (first, event)
        return (self.violation(fact, None, event.t, *witness),)

    def _remember(self, event: DagRunEvent) -> None:
        """Keep who finished a run, for the witness; the oldest is forgotten."""
        self._ends.pop((event.dag_id, event.run_id), None)
        self._ends[event.dag_id, event.run_id] = event
        if len(self._ends) > REMEMBERED:
            del self._ends[next(iter(self._ends))]


def _what(event: DagRunEvent) -> str:
    ends = ""
    if event.old_end is not None and event.new_end is not None:
        ends = f", its end {event.new_end - event.old_end:+.3f} s"
    return f"{event.run_id} of {event.dag_id} {shown(event.old)} -> {shown(event.new)}{ends}"
