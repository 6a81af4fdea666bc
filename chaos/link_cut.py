"""A database link that is cut: by a database that restarts, by a firewall that forgets."""

from dataclasses import dataclass
from typing import Any

from chaos.base import require
from chaos.database_link import LinkFault

HOWS = ("reset", "drop")


@dataclass(frozen=True)
class LinkCut(LinkFault):
    """Cuts a process' database links, in one of two ways; `*` stands for all.

    `reset`: connections are reset, and new ones too: a database that restarts. `drop`: nothing
    arrives and nobody is told, new connections hang: a firewall that lost its memory. When healed,
    what was sent arrives, as TCP would have sent it again.
    """

    how: str = "reset"

    name = "link-cut"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.how in HOWS, f"A link is cut by {' or '.join(HOWS)}, not {self.how!r}.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"database link cut by {self.how}{self.at_least}"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"cut": self.how}
