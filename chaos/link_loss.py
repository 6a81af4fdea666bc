"""A database link that loses a share of what goes over it."""

from dataclasses import dataclass
from typing import Any

from chaos.base import require
from chaos.database_link import LinkFault


@dataclass(frozen=True)
class LinkLoss(LinkFault):
    """Loses a share of what goes over a process' database links, as TCP lets its users feel it.

        sent      a  b  c  d
        lost         x
        arrives   a        ... 0.2 s ...  b c d     (0.4 s more if b is lost again, and so on)

    Nothing is missing in the end; each piece is late with probability `loss`, drawn from `seed`
    for each link and direction on its own, and what was sent after it waits behind it.
    """

    loss: float
    seed: int | None = None

    name = "link-loss"
    counted = ("lost",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.loss < 1, "The loss must be a share from 0 to under 1.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        share = f"{100 * self.loss:g} % (seed {self.seed or 0})"
        return f"{share} of the pieces lost each way on the database link, sent again after 0.2 s"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"loss": self.loss, "seed": self.seed or 0}
