"""A request that is lost on its way: an API server that is killed, a node that drops packets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.kube_api import RequestFault


@dataclass(frozen=True)
class PodApiDrop(RequestFault):
    """Closes the connection of a process' requests before they are processed.

        scheduler   -- POST pod --X            (no answer: was the pod made?)
        API                                    (it was not)

    To the process it is what `pod-answer-lost` is, and nothing has happened.
    """

    name = "pod-api-drop"

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"{self.struck} not processed, connection closed"

    @property
    def deed(self) -> Mapping[str, Any]:
        """What of the rule makes the fault."""
        return {"do": "drop", "when": "before"}
