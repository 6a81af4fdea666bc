"""A request that is done, and nobody is told: a load balancer that restarts, a connection reset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.kube_api import RequestFault


@dataclass(frozen=True)
class PodAnswerLost(RequestFault):
    """Processes a process' requests, and closes the connection instead of answering.

        scheduler   -- POST pod -->            (no answer: was the pod made?)
        API                        pod made --X

    Kubernetes' own client tries again by itself what it holds for repeatable (GET, PUT, DELETE),
    and not what creates or patches.
    """

    name = "pod-answer-lost"

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"{self.struck} processed, answer lost"

    @property
    def deed(self) -> Mapping[str, Any]:
        """What of the rule makes the fault."""
        return {"do": "drop", "when": "after"}
