"""An API server that answers 5xx to workers: it restarts, or is out of connections."""

from dataclasses import dataclass
from typing import Any

from chaos.base import require
from chaos.worker_requests import WorkerRequestFault


@dataclass(frozen=True)
class ApiServerErrors(WorkerRequestFault):
    """Answers workers' requests with a status of 5xx, and the API server does not hear of them.

        worker  --- state success --> 503 --- again, after a pause of the SDK's --> 503 ...
        API server                     (hears nothing)

    As a load balancer does whose API server is away.
    """

    status: int = 503

    name = "api-server-errors"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(500 <= self.status <= 599, f"{self.status} is not a status of 5xx.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"{self.status} to {self.whose}{self.at_least}"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"do": "answer", "status": self.status}
