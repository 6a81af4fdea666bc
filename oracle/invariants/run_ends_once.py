"""Does a DAG run end once?"""

from collections.abc import Iterable

from oracle.events import DagRunEvent
from oracle.invariants.base import Invariant, Violation
from oracle.states import RUN_FINISHED, shown


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

    def on_run(self, event: DagRunEvent) -> Iterable[Violation]:
        """Look at what a scheduler does to a finished run."""
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
        return (self.violation(fact, None, event.t, event),)


def _what(event: DagRunEvent) -> str:
    ends = ""
    if event.old_end is not None and event.new_end is not None:
        ends = f", its end {event.new_end - event.old_end:+.3f} s"
    return f"{event.run_id} of {event.dag_id} {shown(event.old)} -> {shown(event.new)}{ends}"
