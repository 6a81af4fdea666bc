"""Whether somebody is still busy with a task instance that is RUNNING by its row."""

from oracle.events import LedgerEvent, PodEvent, TaskInstanceKey
from oracle.states import RUNNING


class SignsOfLife:
    """Remembers the live pods and the unfinished user code of each task instance.

    Where a history has neither pods nor a ledger (another executor, other DAGs), a running task
    instance gets the benefit of the doubt.
    """

    def __init__(self) -> None:
        self._seen = False
        self._alive: dict[TaskInstanceKey, set[str]] = {}

    def feed(self, event: PodEvent | LedgerEvent) -> None:
        """Take note of a pod or of user code that began or ended."""
        self._seen = True
        if event.ti is None:
            return
        if isinstance(event, PodEvent):
            alive = event.op != "deleted" and event.phase == "Running"
            self._set(event.ti, event.name, alive)
        else:
            self._set(event.ti, event.pod, event.op == "start")

    def of(self, ti: TaskInstanceKey, state: str) -> bool:
        """Tell whether a task instance in this state is being worked on."""
        return state == RUNNING and (not self._seen or ti in self._alive)

    def _set(self, ti: TaskInstanceKey, pod: str, alive: bool) -> None:
        if alive:
            self._alive.setdefault(ti, set()).add(pod)
        elif pods := self._alive.get(ti):
            pods.discard(pod)
            if not pods:
                del self._alive[ti]
