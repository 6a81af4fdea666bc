"""Faults of the network between a process and its database, made by the lab's `lab.dbproxy`."""

import urllib.parse
from fnmatch import fnmatchcase
from typing import Any

import requests

from chaos.base import Fault, Record
from lab.base import Lab
from lab.errors import LabError

_TIMEOUT = 5.0


class _LinkFault(Fault):
    """Sets fields of a process' rule in the proxy, and sets them back when healed."""

    def __init__(self, lab: Lab, process: str, record: Record | None) -> None:
        super().__init__(process, record)
        self._at = lab.proxy_control
        self._before = 0
        self._rule = f"{self._at}/rules/{urllib.parse.quote(process, safe='')}"

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab's database links cannot be reached, None when they can."""
        return None if lab.proxy_control else "the lab has no proxy in front of its database"

    def _struck(self) -> int:
        """Return how often the proxy has held back or reset what the rule is for, ever."""
        with requests.Session() as session:
            session.trust_env = False
            links: dict[str, dict[str, int]] = session.get(f"{self._at}/links", timeout=5).json()
        struck = [each for name, each in links.items() if fnmatchcase(name, self.process)]
        return sum(each["held_back"] + each["reset"] for each in struck)

    def fired(self) -> bool:
        """Tell whether the proxy has held back or reset anything of the process since the start."""
        return self._struck() > self._before

    def _put(self, **fields: Any) -> None:
        try:
            self._before = self._struck()
            with requests.Session() as session:
                session.trust_env = False
                answer = session.put(self._rule, json=fields, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise LabError(
                f"The database proxy does not answer at {self._rule}.",
                "Look at its log; the lab may have ended.",
            ) from error
        if not answer.ok:
            raise LabError(f"The database proxy refuses the fault: {answer.json()['error']}.")


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
        self._put(latency=self.seconds, jitter=self.jitter, seed=self.seed)

    def heal(self) -> str:
        """Take the latency away; what is on its way arrives at once."""
        self._put(latency=0.0, jitter=0.0, seed=0)
        return ""


class LinkCut(_LinkFault):
    """Cuts a process' database links, in one of two ways; `*` stands for all.

    `reset`: connections are reset, and new ones too: a database that restarts. `drop`: nothing
    arrives and nobody is told, new connections hang: a firewall that lost its memory. When healed,
    what was sent arrives, as TCP would have sent it again.
    """

    name = "link-cut"

    def __init__(
        self, lab: Lab, process: str, how: str = "reset", record: Record | None = None
    ) -> None:
        super().__init__(lab, process, record)
        self.how = how

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"database link cut by {self.how}"

    def inject(self) -> None:
        """Cut the links that are there, and those to come; LabError for another way to cut."""
        self._put(cut=self.how)

    def heal(self) -> str:
        """Let the links carry again."""
        self._put(cut=None)
        return ""
