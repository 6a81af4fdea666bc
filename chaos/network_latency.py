"""A process that is far from its database."""

from dataclasses import dataclass
from typing import Any

from chaos.base import jittered, require
from chaos.database_link import LinkFault


@dataclass(frozen=True)
class NetworkLatency(LinkFault):
    """Adds `latency` seconds to a process' database links, each way; `*` stands for all.

    Give or take `jitter` seconds, drawn from `seed` for each link and direction on its own. As on
    a real network, order is kept and bandwidth is not touched.
    """

    latency: float
    jitter: float = 0.0
    seed: int | None = None

    name = "network-latency"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latency >= 0, "The latency must be 0 s or more.")
        require(self.jitter >= 0, "The jitter must be 0 s or more.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        latency = jittered(self.latency, self.jitter, self.seed)
        return f"{latency} each way on the database link"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"latency": self.latency, "jitter": self.jitter, "seed": self.seed or 0}
