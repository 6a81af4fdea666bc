"""Worker pods that are slow to start: an image to be pulled, a volume to be attached."""

import time
from dataclasses import dataclass, field

from kubernetes.client import ApiException

from chaos.base import ANY_WORKER, Fault, Injection, require
from common.errors import UserError
from lab.base import Lab


@dataclass(frozen=True)
class SlowPods(Fault[Lab]):
    """Makes each worker pod that starts from now on take `delay` seconds longer.

    Until then the pod is Pending and its task instance queued; Airflow gives up on one after
    task_queued_timeout (600 s by default). Pods that wait already keep their time when healed.
    """

    delay: float
    process: str = field(default=ANY_WORKER, init=False)

    name = "slow-pods"
    powers = ("delay-pods",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.delay > 0, "The delay must be greater than 0 s.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"each pod starts {self.delay:g} s later"

    def inject(self, at: Injection[Lab]) -> None:
        """Slow the pods that are to come; those that are Pending now do not count."""
        at.kept = dict.fromkeys(_pending(at.lab), float("inf"))
        at.lab.delay_pods(self.delay)

    def fired(self, at: Injection[Lab]) -> bool:
        """Tell whether a pod that came since is pending for most of the delay, as seen here."""
        now = time.monotonic()
        seen: dict[str, float] = at.kept
        return any(now - seen.setdefault(uid, now) >= 0.8 * self.delay for uid in _pending(at.lab))

    def heal(self, at: Injection[Lab]) -> None:
        """Let pods start as before."""
        at.lab.delay_pods(0.0)


def _pending(lab: Lab) -> set[str]:
    """Return the uids of the worker pods that are Pending."""
    try:
        listed = lab.kubernetes().list_namespaced_pod(lab.namespace, label_selector=lab.worker_pods)
    except ApiException as error:
        raise UserError(f"The pods cannot be listed: {error.reason}.") from error
    return {pod.metadata.uid for pod in listed.items if pod.status.phase == "Pending"}
