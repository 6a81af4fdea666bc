"""A pod's end that is heard of late: a watch cache that lags, an API server with too much to do."""

from dataclasses import dataclass, field

from chaos.base import require
from chaos.kube_api import KubeApiFault
from lab.kubeapi.rules import Rule


@dataclass(frozen=True)
class LatePodEnd(KubeApiFault):
    """Tells a process' watches of a pod's end, and of what comes after it, `late` seconds later.

        pod         runs ---X ended
        others      ........| told
        scheduler   ........|<-- late -->| told of this, and of all since

    The pod's end is true at once for everybody else, for who lists, and for the history: a watch
    may lag, and keeps the order of changes. (A kubelet that reported late would have the pod run
    on in everybody's eyes, the judge's too.) A watch that begins anew, from no version, shows what
    is so now.
    """

    late: float
    pods: str = field(default="*", kw_only=True)
    labels: str = field(default="", kw_only=True)
    count: int | None = field(default=None, kw_only=True)

    name = "late-pod-end"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.late > 0, "It must be late by more than 0 s.")
        require(self.count is None or self.count >= 1, "The count must be 1 or more.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        which = f" of {self.pods}" if self.pods != "*" else ""
        which += f" with {self.labels}" if self.labels else ""
        times = "each pod's end" if self.count is None else f"the next {self.count} pods' ends"
        return f"{times}{which} told to watches {self.late:g} s late"

    @property
    def rule(self) -> Rule:
        """The rule that makes the fault."""
        which = {"pods": self.pods, "labels": self.labels, "count": self.count}
        return Rule(client=self.process, do="late-end", seconds=self.late, **which)  # type: ignore[arg-type]
