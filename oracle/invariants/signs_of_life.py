"""Whether somebody is still busy with a task instance, by its pods and its user code."""

from oracle.events import LedgerEvent, PodEvent, TaskInstanceKey


class SignsOfLife:
    """Remembers the live pods and the unfinished user code of each task instance.

    Pods and code of some task instances are out of a recorder's sight: what another executor runs,
    what began before it, what is in another namespace. So it also remembers of which task
    instances it ever saw anything; of the others nothing is known.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._alive: dict[TaskInstanceKey, set[str]] = {}
        self._pending: dict[TaskInstanceKey, set[str]] = {}

    def feed(self, event: PodEvent | LedgerEvent) -> None:
        """Take note of a pod or of user code that began or ended."""
        if event.ti is None:
            return
        self._seen.add(hash(event.ti))
        if isinstance(event, PodEvent):
            _set(self._alive, event.ti, event.name, event.phase == "Running" and not event.over)
            pending = event.phase == "Pending" and not (event.over or event.deleting)
            _set(self._pending, event.ti, event.name, pending)
        else:
            _set(self._alive, event.ti, event.pod, event.op == "start")

    def working(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a worker is at work on a task instance."""
        return ti in self._alive

    def coming(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a pod that was made for a task instance waits for its node, or has come."""
        return ti in self._pending or ti in self._alive

    def seen(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a pod or user code of a task instance was ever seen."""
        return hash(ti) in self._seen


def _set(pods: dict[TaskInstanceKey, set[str]], ti: TaskInstanceKey, pod: str, there: bool) -> None:
    if there:
        pods.setdefault(ti, set()).add(pod)
    elif known := pods.get(ti):
        known.discard(pod)
        if not known:
            del pods[ti]
