"""Worker pods that are taken away: a drained node, an eviction, a spot instance called back."""

import logging
import random
import threading
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from chaos.base import Fault, Record
from common.errors import UserError
from lab.base import Lab

log = logging.getLogger(__name__)

_JOIN = 30.0


class PodDeletion(Fault):
    """Deletes running worker pods, one after another, while it lasts.

        pods    p1 ======X     p2 ====X      p3 ===...
                         |<- interval ->|
        fault   |-- begun --------------------- healed --|

    `seed` chooses among the pods that run, without it the first by name goes; a pod is deleted
    once. `grace` is how many seconds a pod's container has to end. With 0 the API forgets a pod
    before its node has stopped it ("force deletion" in Kubernetes' documents): its user code may
    go on, and complete, while Airflow tries again. That is no broken promise of Airflow's.
    """

    name = "pod-deletion"

    def __init__(
        self,
        lab: Lab,
        interval: float = 5.0,
        grace: int = 1,
        seed: int | None = None,
        seconds: float = 0.0,
        record: Record | None = None,
    ) -> None:
        super().__init__("worker", record, seconds)
        if interval <= 0 or grace < 0:
            raise UserError(
                "Pods are deleted at an interval above 0 s, with a grace of 0 s or more."
            )
        self.interval = interval
        self.grace = grace
        self.seed = seed
        self.deleted: list[str] = []
        self._lab = lab
        self._random = random.Random(seed)
        self._healed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def detail(self) -> str:
        """What the fault does."""
        which = "the first" if self.seed is None else f"one by seed {self.seed}"
        return (
            f"{which} of the running pods deleted every {self.interval:g} s, grace {self.grace} s"
        )

    def inject(self) -> None:
        """Begin to delete; the first pod goes as soon as one runs."""
        self._healed.clear()
        client = self._lab.kubernetes()
        self._thread = threading.Thread(
            target=self._delete_until_healed, args=(client,), name=self.name, daemon=True
        )
        self._thread.start()

    def _delete_until_healed(self, client: Any) -> None:
        """Delete one at an interval; where none runs, or the API fails, try again soon."""
        while not self._healed.is_set():
            try:
                name = self._delete_one(client)
            except (ApiException, HTTPError) as error:
                log.warning("No pod could be deleted: %s", getattr(error, "reason", error))
                name = None
            self._healed.wait(self.interval if name else min(self.interval, 0.2))

    def _delete_one(self, client: Any) -> str | None:
        listed = client.list_namespaced_pod(
            self._lab.namespace, label_selector=self._lab.worker_pods
        ).items
        running = sorted(
            pod.metadata.name
            for pod in listed
            if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None
        )
        if not running:
            return None
        name: str = running[0] if self.seed is None else self._random.choice(running)
        client.delete_namespaced_pod(name, self._lab.namespace, grace_period_seconds=self.grace)
        log.info("Deleted the running pod %s", name)
        self.deleted.append(name)
        return name

    def fired(self) -> bool:
        """Tell whether a pod was deleted."""
        return bool(self.deleted)

    def heal(self) -> str:
        """Delete no more; what is deleted stays so. Returns which pods went."""
        self._healed.set()
        if self._thread is not None:
            self._thread.join(_JOIN)
            if self._thread.is_alive():
                raise UserError("A deletion of a pod is not answered.", "Try again, it may be.")
        return f"deleted {len(self.deleted)} pods: {', '.join(self.deleted) or 'none ran'}"
