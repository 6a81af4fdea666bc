"""Answers of the API server that workers do not get: a connection that dies at the wrong moment."""

from dataclasses import dataclass
from typing import Any

from chaos.worker_requests import WorkerRequestFault


@dataclass(frozen=True)
class LostAnswers(WorkerRequestFault):
    """Has the API server do what workers ask, and closes the connection in the answer's place.

        worker      --- state deferred -->            X   again --> 409, or worse
        API server                        done, 204 --'

    A worker cannot tell it from a request that never arrived, and sends it once more.
    """

    name = "lost-answers"

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"the answers to {self.whose} are lost{self.at_least}"

    @property
    def rule(self) -> dict[str, Any]:
        """The fields of the rule that make the fault."""
        return {"do": "lose"}
