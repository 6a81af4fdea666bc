"""What faults of the link between a process and its database share: the lab's `lab.dbproxy`."""

import urllib.parse
from abc import abstractmethod
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import requests

from chaos.base import Fault, Injection
from common.errors import UserError
from lab.base import Lab

_TIMEOUT = 5.0
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
        links: dict[str, dict[str, int]] = _ask(lab, "GET", "links").json()
        struck = [each for name, each in links.items() if fnmatchcase(name, self.process)]
        return sum(each[what] for each in struck for what in self.counted)

    def _put(self, lab: Lab, fields: dict[str, Any]) -> None:
        answer = _ask(lab, "PUT", f"rules/{urllib.parse.quote(self.process, safe='')}", fields)
        if not answer.ok:
            raise UserError(f"The database proxy refuses the fault: {answer.json()['error']}.")


def _ask(lab: Lab, method: str, path: str, body: Any = None) -> requests.Response:
    at = lab.proxy_control
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{at}/{path}", json=body, timeout=_TIMEOUT)
    except requests.RequestException as error:
        raise UserError(
            f"The database proxy does not answer at {at}.",
            "Look at its log; the lab may have ended.",
        ) from error
