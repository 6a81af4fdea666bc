"""Worker pods that are slow to start: an image to be pulled, a volume to be attached."""

import time

from kubernetes.client import ApiException

from chaos.base import Fault, Record
from common.errors import UserError
from lab.base import WORKERS, Lab


class SlowPods(Fault):
    """Makes each worker pod that starts from now on take `delay` seconds longer.

    Until then the pod is Pending and its task instance queued; Airflow gives up on one after
    task_queued_timeout (600 s by default). Pods that wait already keep their time when healed.
    """

    name = "slow-pods"

    def __init__(
        self,
        lab: Lab,
        delay: float,
        seconds: float = 0.0,
        record: Record | None = None,
    ) -> None:
        super().__init__("worker", record, seconds)
        if delay <= 0:
            raise UserError(f"Pods cannot start {delay:g} s later.", "Give more than 0 seconds.")
        self.delay = delay
        self._lab = lab
        self._before: set[str] = set()
        self._seen: dict[str, float] = {}

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why pods cannot be made to start later, None when they can."""
        return lab.lacks("delay-pods")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"each pod starts {self.delay:g} s later"

    def inject(self) -> None:
        """Slow the pods that are to come."""
        self._before = self._pending()
        self._seen = {}
        self._lab.delay_pods(self.delay)

    def _pending(self) -> set[str]:
        """Return the uids of the worker pods that are Pending."""
        try:
            listed = self._lab.kubernetes().list_namespaced_pod(
                self._lab.namespace, label_selector=WORKERS
            )
        except ApiException as error:
            raise UserError(f"The pods cannot be listed: {error.reason}.") from error
        return {pod.metadata.uid for pod in listed.items if pod.status.phase == "Pending"}

    def fired(self) -> bool:
        """Tell whether a pod that came since is pending for most of the delay, as seen here."""
        now = time.monotonic()
        for uid in self._pending() - self._before:
            if now - self._seen.setdefault(uid, now) >= 0.8 * self.delay:
                return True
        return False

    def heal(self) -> str:
        """Let pods start as before."""
        self._lab.delay_pods(0.0)
        return ""
