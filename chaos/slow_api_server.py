"""An API server that takes its time: too many workers, a database that is busy."""

from dataclasses import dataclass
from typing import Any

from chaos.base import require
from chaos.worker_requests import WorkerRequestFault

WHENS = ("before", "after")


@dataclass(frozen=True)
class SlowApiServer(WorkerRequestFault):
    """Makes each request of a worker take `delay` seconds longer.

    `before` the API server gets it, so that what the worker says is old by then; or `after`, when
    it has done what was asked, and the worker does not know yet. Who waits goes on when healed.
    """

    delay: float
    when: str = "before"

    name = "slow-api-server"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.delay <= 3600, "The delay must be more than 0 s, and 3600 s at most.")
        require(self.when in WHENS, f"A request waits before or after, not {self.when!r}.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        where = "before the API server gets it" if self.when == "before" else "with its answer"
        return f"{self.whose} take {self.delay:g} s longer, {where}{self.at_least}"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"do": "delay", "seconds": self.delay, "when": self.when}
