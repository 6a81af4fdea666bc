"""Requests of workers that never arrive: an API server that is away, a network that is cut."""

from dataclasses import dataclass
from typing import Any

from chaos.worker_requests import WorkerRequestFault


@dataclass(frozen=True)
class DroppedRequests(WorkerRequestFault):
    """Closes the connections of workers that ask something; the API server hears nothing of it.

    worker      --- state success --> X    again, after a pause of the SDK's --> 204
    API server         (hears nothing)
    """

    name = "dropped-requests"

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"{self.whose} are dropped{self.at_least}"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"do": "drop"}
