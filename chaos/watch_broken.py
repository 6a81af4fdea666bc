"""A watch of pods that ends, hangs, or is too old: what every client of Kubernetes must bear."""

from dataclasses import dataclass

from chaos.base import require
from chaos.kube_api import KubeApiFault
from lab.kubeapi.rules import Rule

_HOWS = {
    "closed": ("close", "ended in good order, as after its time"),
    "cut": ("cut", "cut off with their connection"),
    "gone": ("expire", "ended by 410 Gone, and what they knew is too old to go on from"),
    "silent": ("silence", "open, told nothing"),
}
HOWS = tuple(_HOWS)


@dataclass(frozen=True)
class WatchBroken(KubeApiFault):
    """Breaks a process' watches of pods, in one of four ways.

    `closed`, `cut` and `gone` strike the watches that are open when the fault begins, once; where
    none is open, the next one. With `gone` a watch that would go on from before that moment is
    refused as well, while the fault lasts: the process must list anew. `silent` strikes all, also
    those to come: they stay open and are told nothing, not even that their time is over, as on a
    connection whose other end is dead; healed, they go on where they were.
    """

    how: str = "closed"

    name = "watch-broken"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.how in _HOWS, f"A watch is {', '.join(_HOWS)}, not {self.how!r}.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"watches of pods {_HOWS[self.how][1]}{self.at_least}"

    @property
    def rule(self) -> Rule:
        """The rule that makes the fault."""
        return Rule(client=self.process, do=_HOWS[self.how][0])  # type: ignore[arg-type]
