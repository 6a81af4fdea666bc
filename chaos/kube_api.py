"""What faults of the Kubernetes API share: a rule in the lab's own API (`lab.kubeapi.rules`)."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from chaos.base import Fault, Injection, require
from common.errors import UserError
from lab.base import Lab
from lab.kubeapi.rules import VERBS, Rule

_TIMEOUT = 5.0
_NAMED = 3


class KubeApiLab(Lab, Protocol):
    """A lab that has the power `kube-api`: its Kubernetes API, at this URL, obeys rules."""

    kube_api: str


class HeldRequest(msgspec.Struct, frozen=True):
    """A request of a process that is held; `since` is unix seconds."""

    process: str = msgspec.field(name="client")
    request: str
    pod: str
    since: float

    @property
    def text(self) -> str:
        """Say what is held."""
        return f"{self.request} of {self.pod or 'pods'}"


class Report(msgspec.Struct, frozen=True):
    """What a rule did: how often, the last few as (verb, pod, client), and who is held by it."""

    struck: int = 0
    last: tuple[tuple[str, str, str], ...] = ()
    held: tuple[HeldRequest, ...] = ()

    @property
    def text(self) -> str:
        """Say whom it struck, for a history; the last of many."""
        named = [f"{verb} of {pod or 'pods'}" for verb, pod, _ in self.last[-_NAMED:]]
        dots = ["..."] if self.struck > len(named) else []
        times = {0: "never", 1: "once"}.get(self.struck, f"{self.struck} times")
        return ": ".join(filter(None, [f"struck {times}", ", ".join([*dots, *named])]))


class ApiRule:
    """A rule that is in force from now on, for as long as this object's connection lives.

    Whoever made it and is killed has withdrawn it. Raises UserError where it cannot be set.
    """

    def __init__(self, api: str, rule: Rule) -> None:
        self._api = api
        self._lease = _connection(api)
        try:
            answer = _sent(self._lease, api, "POST", "/rules", rule)
            if answer.status != 200:
                raise UserError(f"The Kubernetes API refuses the rule: {_message(answer)}.")
            self.number = msgspec.json.decode(answer.readline(), type=dict[str, int])["rule"]
        except BaseException:
            self._lease.close()
            raise
        self._path = f"/rules/{self.number}"

    def report(self) -> Report:
        """Return what it did so far; UserError where it has ended."""
        return self._call("GET", self._path)

    def release(self, outcome: str = "go") -> None:
        """Let those go on who are held now, or have them fail: by an `error`, or a `drop`."""
        self._call("POST", f"{self._path}/release", {"outcome": outcome})

    def withdraw(self) -> Report | None:
        """End it; return what it did, None where it had ended with its lab."""
        try:
            return self._call("DELETE", self._path)
        except UserError:
            return None
        finally:
            self._lease.close()

    def _call(self, method: str, path: str, body: Any = None) -> Report:
        connection = _connection(self._api)
        try:
            answer = _sent(connection, self._api, method, path, body)
            if answer.status != 200:
                raise UserError("The rule in the Kubernetes API has ended.", "Has the lab ended?")
            return msgspec.json.decode(answer.read(), type=Report)
        finally:
            connection.close()


def _connection(api: str) -> HTTPConnection:
    parts = urlsplit(api)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)


def _sent(
    connection: HTTPConnection, api: str, method: str, path: str, body: Any = None
) -> HTTPResponse:
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body))
        return connection.getresponse()
    except (OSError, HTTPException) as error:
        raise UserError(
            f"The lab's Kubernetes API does not answer at {api}.",
            "Look at its log; the lab may have ended.",
        ) from error


def _message(answer: HTTPResponse) -> str:
    told: dict[str, Any] = msgspec.json.decode(answer.read())
    return str(told.get("message", answer.reason))


@dataclass(frozen=True)
class KubeApiFault(Fault[KubeApiLab]):
    """Disturbs what a process asks of the Kubernetes API about pods; `*`, all of Airflow's.

    The lab's own kubelet and recorder are disturbed where they are named in full (`kubelet`).
    Ends by itself when this process dies.
    """

    process: str

    powers = ("kube-api",)

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The rule that makes the fault."""

    def inject(self, at: Injection[KubeApiLab]) -> None:
        """Put the rule in force."""
        at.kept = ApiRule(at.lab.kube_api, self.rule)

    def fired(self, at: Injection[KubeApiLab]) -> bool:
        """Tell whether anything was struck."""
        kept: ApiRule | Report = at.kept
        report = kept if isinstance(kept, Report) else kept.report()
        return report.struck > 0

    def heal(self, at: Injection[KubeApiLab]) -> str | None:
        """Withdraw the rule; what waits goes on at once. Returns what was struck."""
        rule: ApiRule | None = at.kept
        if rule is None:
            return None
        report = rule.withdraw()
        at.kept = report or Report()
        return report.text if report else "it had ended before: the Kubernetes API was gone"


@dataclass(frozen=True)
class RequestFault(KubeApiFault):
    """Disturbs chosen requests: by their verb, by their pods' names or labels, at most so often.

    `request` is one of the verbs of Kubernetes' rules of access (create, get, list, watch, patch,
    update, delete, deletecollection), or `*`; `pods` is a name in which `*` and `?` stand for any;
    `labels` a selector. Requests of many pods (list, watch, deletecollection) have neither.
    """

    request: str = field(default="*", kw_only=True)
    pods: str = field(default="*", kw_only=True)
    labels: str = field(default="", kw_only=True)
    count: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.request in ("*", *VERBS),
            f"There is no request {self.request!r} of pods.",
            f"There are {', '.join(VERBS)}, and * for all.",
        )
        require(self.count is None or self.count >= 1, "The count must be 1 or more.")

    @property
    @abstractmethod
    def deed(self) -> Mapping[str, Any]:
        """What of the rule makes the fault."""

    @property
    def rule(self) -> Rule:
        """The rule that makes the fault."""
        return Rule(
            client=self.process,
            request=self.request,  # type: ignore[arg-type]
            pods=self.pods,
            labels=self.labels,
            count=self.count,
            **self.deed,
        )

    @property
    def struck(self) -> str:
        """Say which requests are meant, in the words of a report."""
        request = "request" if self.request == "*" else f"{self.request} request"
        how_many = {None: "each", 1: "the next"}.get(self.count, f"the next {self.count}")
        plural = "" if self.count in (None, 1) else "s"
        pods = "" if self.pods == "*" else f" of pods {self.pods}"
        labels = f" of pods with {self.labels}" if self.labels else ""
        return f"{how_many} {request}{plural}{pods}{labels}"
