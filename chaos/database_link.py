"""What faults of the link between a process and its database share: the lab's `lab.dbproxy`."""

import urllib.parse
from abc import abstractmethod
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from chaos.base import Fault, Injection
from common.errors import UserError
from lab.base import Lab
from lab.database import ask_proxy

_NEUTRAL = {"latency": 0.0, "jitter": 0.0, "loss": 0.0, "cut": None, "seed": 0}


@dataclass(frozen=True)
class LinkFault(Fault[Lab]):
    """Sets fields of a process' rule in the proxy, and sets them back when healed."""

    process: str

    powers = ("proxy",)
    counted: ClassVar[tuple[str, ...]] = ("held_back", "reset")
    """What the proxy counts when the fault strikes."""

    @property
    @abstractmethod
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault; the others stay as they are."""

    def inject(self, at: Injection[Lab]) -> None:
        """Disturb the links that are there, and those to come."""
        at.kept = self._struck(at.lab)
        self._put(at.lab, self.rule)

    def fired(self, at: Injection[Lab]) -> bool:
        """Tell whether the proxy has done it to the process since the fault began."""
        return self._struck(at.lab) > (at.kept or 0)

    def heal(self, at: Injection[Lab]) -> None:
        """Let the links carry as before; what is on its way, or was held, arrives at once."""
        self._put(at.lab, {field: _NEUTRAL[field] for field in self.rule})

    def _struck(self, lab: Lab) -> int:
        """Return how often the proxy has done to the process what the fault does, ever."""
        links: dict[str, dict[str, int]] = ask_proxy(lab.proxy_control, "GET", "links").json()
        struck = [each for name, each in links.items() if fnmatchcase(name, self.process)]
        return sum(each[what] for each in struck for what in self.counted)

    def _put(self, lab: Lab, fields: dict[str, Any]) -> None:
        rule = f"rules/{urllib.parse.quote(self.process, safe='')}"
        answer = ask_proxy(lab.proxy_control, "PUT", rule, fields)
        if not answer.ok:
            raise UserError(f"The database proxy refuses the fault: {answer.json()['error']}.")
