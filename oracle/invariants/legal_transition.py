"""Does every task instance move only along its state machine?"""

from collections.abc import Iterable

from oracle.events import ArchivedEvent, Event, TaskInstanceEvent
from oracle.invariants.base import Invariant, Violation
from oracle.invariants.transitions import illegal
from oracle.states import shown


class LegalTransition(Invariant):
    """A process changes a state only from where its own code expects it.

    A scheduler that writes SCHEDULED over QUEUED, RUNNING or SUCCESS acts on rows that it read
    before somebody else's commit. Rows that are inserted or deleted have no move to judge. An
    archived attempt (3.4) is history: whatever else of it is written late, its state is not.
    """

    name = "legal-transition"
    promise = (
        "A task instance moves only along its state machine, "
        "and no scheduler overwrites RUNNING or SUCCESS"
    )
    sees = (TaskInstanceEvent, ArchivedEvent)
    evidence = (TaskInstanceEvent,)

    def feed(self, event: Event) -> Iterable[Violation]:
        """Look one change up in the table of its process."""
        if isinstance(event, ArchivedEvent):
            by_airflow = self.roles.of(event.process) != "other"
            return (self._history(event),) if by_airflow else ()
        if not isinstance(event, TaskInstanceEvent) or event.old is None or event.new is None:
            return ()
        old, new = event.old, event.new
        raised = new.try_number > old.try_number
        wrong = illegal(self.roles.of(event.process), old.state, new.state, raised)
        if wrong is None:
            return ()
        return (self.violation(f"{event.process} moved it {wrong}", event.ti, event.t, event),)

    def _history(self, event: ArchivedEvent) -> Violation:
        move = f"{shown(event.old.state)} -> {shown(event.new.state)}"
        fact = f"{event.process} moved the archived try {event.old.try_number} {move}"
        return self.violation(fact, event.ti, event.t, event)
