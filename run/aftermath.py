"""What follows a violation: a run goes on until the evidence is in, and no longer."""

from oracle.events import Event, PodEvent, TaskInstanceKey, WorkerEvent


class Aftermath:
    """Watches the pods of the task instances that broke a promise."""

    def __init__(self) -> None:
        self.broken: set[TaskInstanceKey] = set()
        self._live: dict[str, TaskInstanceKey | None] = {}
        self._refused = False

    def feed(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, PodEvent):
            if event.over:
                self._live.pop(event.uid, None)
            else:
                self._live[event.uid] = event.ti
        elif isinstance(event, WorkerEvent) and event.refused is not None:
            self._refused = True

    @property
    def complete(self) -> bool:
        """Whether a worker was refused, and no pod of a broken task instance is alive."""
        return self._refused and not self.broken.intersection(
            ti for ti in list(self._live.values()) if ti is not None
        )
