"""A Kubernetes API that is slow: etcd on a busy disk, an admission webhook, too many clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.base import jittered, require
from chaos.kube_api import RequestFault


@dataclass(frozen=True)
class PodApiLatency(RequestFault):
    """Has a process' requests processed `latency` seconds late.

    Give or take `jitter`, drawn from `seed`: the n-th request that is struck waits the same in
    every run. Each request waits for itself; what waits when the fault is healed goes on at once.
    """

    latency: float
    jitter: float = 0.0
    seed: int | None = None

    name = "pod-api-latency"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latency > 0, "The latency must be greater than 0 s.")
        require(self.jitter >= 0, "The jitter must be 0 s or more.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"{jittered(self.latency, self.jitter, self.seed)} before {self.struck}"

    @property
    def deed(self) -> Mapping[str, Any]:
        """What of the rule makes the fault."""
        delay = {"seconds": self.latency, "jitter": self.jitter, "seed": self.seed or 0}
        return {"do": "delay", **delay}
