"""Faults of the network between a process and its database, made by the lab's `lab.dbproxy`."""

import urllib.parse
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import requests

from chaos.base import Fault, Record
from common.errors import UserError
from lab.base import Lab

_TIMEOUT = 5.0


class _LinkFault(Fault):
    """Sets fields of a process' rule in the proxy, and sets them back when healed."""

    counted: ClassVar[tuple[str, ...]] = ("held_back", "reset")
    """What the proxy counts when the fault strikes."""

    def __init__(self, lab: Lab, process: str, record: Record | None, lasts: float = 0.0) -> None:
        super().__init__(process, record, lasts)
        self._at = lab.proxy_control
        self._before = 0

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab's database links cannot be reached, None when they can."""
        return None if lab.proxy_control else "the lab has no proxy in front of its database"

    def fired(self) -> bool:
        """Tell whether the proxy has done it to the process since the fault began."""
        return self._struck() > self._before

    def _struck(self) -> int:
        """Return how often the proxy has done to the process what the fault does, ever."""
        links: dict[str, dict[str, int]] = self._ask("GET", "links").json()
        struck = [each for name, each in links.items() if fnmatchcase(name, self.process)]
        return sum(each[what] for each in struck for what in self.counted)

    def _strike(self, **fields: Any) -> None:
        """Set fields of the rule to bite."""
        self._before = self._struck()
        self._put(**fields)

    def _put(self, **fields: Any) -> None:
        answer = self._ask("PUT", f"rules/{urllib.parse.quote(self.process, safe='')}", fields)
        if not answer.ok:
            raise UserError(f"The database proxy refuses the fault: {answer.json()['error']}.")

    def _ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.request(method, f"{self._at}/{path}", json=body, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise UserError(
                f"The database proxy does not answer at {self._at}.",
                "Look at its log; the lab may have ended.",
            ) from error


class NetworkLatency(_LinkFault):
    """Adds latency to a process' database links, `seconds` each way; `*` stands for all.

    `seconds` give or take `jitter`, drawn from `seed` for each link and direction on its own. As on
    a real network, order is kept and bandwidth is not touched.
    """

    name = "network-latency"

    def __init__(
        self,
        lab: Lab,
        process: str,
        seconds: float,
        jitter: float = 0.0,
        seed: int = 0,
        record: Record | None = None,
    ) -> None:
        super().__init__(lab, process, record)
        self.seconds = seconds
        self.jitter = jitter
        self.seed = seed

    @property
    def detail(self) -> str:
        """What the fault does."""
        jitter = f" ± {self.jitter:g} s (seed {self.seed})" if self.jitter else ""
        return f"{self.seconds:g} s{jitter} each way on the database link"

    def inject(self) -> None:
        """Slow the links that are there, and those to come."""
        self._strike(latency=self.seconds, jitter=self.jitter, seed=self.seed)

    def heal(self) -> str:
        """Take the latency away; what is on its way arrives at once."""
        self._put(latency=0.0, jitter=0.0, seed=0)
        return ""


class LinkLoss(_LinkFault):
    """Loses a share of what goes over a process' database links, as TCP lets its users feel it.

        sent      a  b  c  d
        lost         x
        arrives   a        ... 0.2 s ...  b c d     (0.4 s more if b is lost again, and so on)

    Nothing is missing in the end; each piece is late with probability `loss`, drawn from `seed`
    for each link and direction on its own, and what was sent after it waits behind it.
    """

    name = "link-loss"
    counted = ("lost",)

    def __init__(
        self,
        lab: Lab,
        process: str,
        loss: float,
        seed: int = 0,
        record: Record | None = None,
    ) -> None:
        super().__init__(lab, process, record)
        self.loss = loss
        self.seed = seed

    @property
    def detail(self) -> str:
        """What the fault does."""
        share = f"{100 * self.loss:g} % (seed {self.seed})"
        return f"{share} of the pieces lost each way on the database link, sent again after 0.2 s"

    def inject(self) -> None:
        """Lose from the links that are there, and from those to come."""
        self._strike(loss=self.loss, seed=self.seed)

    def heal(self) -> str:
        """Lose no more; what is to be sent again arrives at once."""
        self._put(loss=0.0, seed=0)
        return ""


class LinkCut(_LinkFault):
    """Cuts a process' database links, in one of two ways; `*` stands for all.

    `reset`: connections are reset, and new ones too: a database that restarts. `drop`: nothing
    arrives and nobody is told, new connections hang: a firewall that lost its memory. When healed,
    what was sent arrives, as TCP would have sent it again.
    """

    name = "link-cut"

    def __init__(
        self,
        lab: Lab,
        process: str,
        how: str = "reset",
        record: Record | None = None,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(lab, process, record, seconds)
        self.how = how

    @property
    def detail(self) -> str:
        """What the fault does."""
        least = f" for {self.lasts:g} s or more" if self.lasts else ""
        return f"database link cut by {self.how}{least}"

    def inject(self) -> None:
        """Cut the links that are there, and those to come; UserError for another way to cut."""
        self._strike(cut=self.how)

    def heal(self) -> str:
        """Let the links carry again."""
        self._put(cut=None)
        return ""
