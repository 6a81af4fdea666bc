"""Whether somebody is busy with a task instance, by its pods and its user code."""

from oracle.events import LedgerEvent, PodEvent, TaskInstanceKey


class SignsOfLife:
    """Remembers the live pods and the unfinished user code of each task instance.

    Pods and code of some task instances are out of a recorder's sight: what another executor runs,
    what began before it, what is in another namespace. So it also remembers of which task
    instances it ever saw anything; of the others nothing is known.
    """

    def __init__(self) -> None:
        self._ended: set[int] = set()
        self._pods: dict[TaskInstanceKey, dict[str, bool]] = {}
        """By name, the pods that have not ended, and whether each has begun to work."""

    def feed_pod(self, event: PodEvent) -> None:
        """Take note of what became of a pod."""
        ti = event.ti
        if ti is None:
            return
        if event.over:
            self._end(ti, event.name)
        elif event.phase == "Running":
            self._pods.setdefault(ti, {})[event.name] = True
        elif event.deleting:
            self._end(ti, event.name)
        else:
            self._pods.setdefault(ti, {})[event.name] = False

    def feed_code(self, event: LedgerEvent) -> None:
        """Take note of user code that began or ended."""
        if event.op == "start":
            self._pods.setdefault(event.ti, {})[event.pod] = True
        else:
            self._end(event.ti, event.pod)

    def working(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a worker is at work on a task instance."""
        return any(self._pods.get(ti, {}).values())

    def coming(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a pod that was made for a task instance waits for its node, or has come."""
        return ti in self._pods

    def seen(self, ti: TaskInstanceKey) -> bool:
        """Tell whether a pod or user code of a task instance was ever seen."""
        return ti in self._pods or hash(ti) in self._ended

    def _end(self, ti: TaskInstanceKey, pod: str) -> None:
        pods = self._pods.get(ti)
        if pods is None:
            self._ended.add(hash(ti))
        elif pods.pop(pod, None) is not None and not pods:
            del self._pods[ti]
            self._ended.add(hash(ti))
