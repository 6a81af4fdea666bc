"""A Kubernetes API that answers with an error: a quota, a rolling upgrade, too many requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.base import require
from chaos.kube_api import RequestFault
from lab.kubeapi.rules import CODES, WHENS


@dataclass(frozen=True)
class PodApiError(RequestFault):
    """Answers a process' requests with an error that passes.

    code    what it is, as a kube-apiserver words it
    403     a quota is used up
    409     another was quicker: with the pod, or when one is made with its quota; made `after` all,
            its name is taken, as when a proxy sends a request twice
    429     too many requests; plain text, with Retry-After
    500     etcd has no leader
    503     the server is starting, or going
    504     the request took longer than the server lets one take

    `retry_after` seconds are said besides. Refused `before` it is processed, nothing has happened;
    `after`, it is done and the client is told that it failed, as a 504 may.
    """

    code: int
    retry_after: int | None = None
    when: str = "before"

    name = "pod-api-error"

    def __post_init__(self) -> None:
        super().__post_init__()
        codes = ", ".join(map(str, CODES))
        require(self.code in CODES, f"The code must be one of {codes}, not {self.code}.")
        require(self.retry_after is None or self.retry_after >= 0, "Retry-After is 0 s or more.")
        require(self.when in WHENS, f"It is {' or '.join(WHENS)}, not {self.when!r}.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        processed = "" if self.when == "before" else "processed, "
        after = "" if self.retry_after is None else f", Retry-After {self.retry_after} s"
        return f"{self.struck} {processed}answered {self.code}{after}"

    @property
    def deed(self) -> Mapping[str, Any]:
        """What of the rule makes the fault."""
        answer = {"code": self.code, "retry_after": self.retry_after, "when": self.when}
        return {"do": "error", **answer}
