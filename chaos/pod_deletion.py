"""Worker pods that are taken away: a drained node, an eviction, a spot instance called back."""

import logging
import random
import threading
from dataclasses import dataclass, field
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from chaos.base import ANY_WORKER, Fault, Injection, require
from common.errors import UserError
from lab.base import Lab
from lab.kube.pods import runs

log = logging.getLogger(__name__)

_JOIN = 30.0


@dataclass(frozen=True)
class PodDeletion(Fault[Lab]):
    """Deletes running worker pods, one after another, while it lasts.

        pods    p1 ======X     p2 ====X      p3 ===...
                         |<- interval ->|
        fault   |-- begun --------------------- healed --|

    `seed` chooses among the pods that run, without any the first by name goes; a pod is deleted
    once. `grace` is how many seconds a pod's container has to end. With 0 the API forgets a pod
    before its node has stopped it ("force deletion" in Kubernetes' documents): its user code may
    go on, and complete, while Airflow tries again. That is no broken promise of Airflow's. With
    `ended`, pods that have ended go, as Kubernetes' own garbage collection has them go.
    """

    interval: float = 5.0
    grace: int = 1
    ended: bool = False
    seed: int | None = None
    process: str = field(default=ANY_WORKER, init=False)

    name = "pod-deletion"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.interval > 0, "The interval must be greater than 0 s.")
        require(self.grace >= 0, "The grace must be 0 s or more.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        which = "the first" if self.seed is None else f"one by seed {self.seed}"
        pods = "pods that have ended" if self.ended else "running pods"
        return f"{which} of the {pods} deleted every {self.interval:g} s, grace {self.grace} s"

    def inject(self, at: Injection[Lab]) -> None:
        """Begin to delete; the first pod goes as soon as one runs."""
        at.kept = _Deletions(self, at.lab)
        at.kept.start()

    def fired(self, at: Injection[Lab]) -> bool:
        """Tell whether a pod was deleted."""
        return bool(at.kept.deleted)

    def heal(self, at: Injection[Lab]) -> str | None:
        """Delete no more; what is deleted stays so. Returns which pods went."""
        deletions: _Deletions | None = at.kept
        if deletions is None:
            return None
        deletions.over.set()
        deletions.join(_JOIN)
        if deletions.is_alive():
            raise UserError("A deletion of a pod is not answered.", "Try again, it may be.")
        names = deletions.deleted
        return f"deleted {len(names)} pods: {', '.join(names) or 'none ran'}"


class _Deletions(threading.Thread):
    """Deletes one pod at an interval until it is `over`; where none runs, it tries again soon."""

    def __init__(self, fault: PodDeletion, lab: Lab) -> None:
        super().__init__(name=fault.name, daemon=True)
        self.deleted: list[str] = []
        self.over = threading.Event()
        self._fault = fault
        self._lab = lab
        self._client = lab.kubernetes()
        self._random = random.Random(fault.seed)

    def run(self) -> None:
        interval = self._fault.interval
        while not self.over.is_set():
            try:
                deleted = self._delete_one()
            except (ApiException, HTTPError) as error:
                log.warning("No pod could be deleted: %s", getattr(error, "reason", error))
                deleted = False
            self.over.wait(interval if deleted else min(interval, 0.2))

    def _delete_one(self) -> bool:
        where = self._lab.namespace
        listed = self._client.list_namespaced_pod(where, label_selector=self._lab.worker_pods)
        meant = _has_ended if self._fault.ended else runs
        names = sorted(pod.metadata.name for pod in listed.items if meant(pod))
        if not names:
            return False
        name = names[0] if self._fault.seed is None else self._random.choice(names)
        self._client.delete_namespaced_pod(name, where, grace_period_seconds=self._fault.grace)
        log.info("Deleted the pod %s", name)
        self.deleted.append(name)
        return True


def _has_ended(pod: Any) -> bool:
    return pod.status.phase in ("Succeeded", "Failed") and not pod.metadata.deletion_timestamp
