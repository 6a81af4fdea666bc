"""What is asked of a lab, and who asked: its folder's spec.json."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from common.errors import UserError
from common.files import write_whole
from common.paths import PROJECT
from lab.base import Airflow

KUBELET_MODES = ("process", "fork", "simulated")
COLD = (
    "start each of Airflow's daemons from nothing (default: as forks of processes that have "
    "imported Airflow, which is faster)"
)
"""What `--cold` says of itself, wherever a lab can be had."""


@dataclass(frozen=True)
class Deployment:
    """A release of the Helm chart to be, in a namespace of its own on a kind cluster.

    `layers` are names of files in charts-values/ beside the default ones; `values` are the user's
    own files, which have the last word.
    """

    cluster: str
    kubeconfig: str
    chart: str
    postgres_image: str
    layers: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attachment:
    """A release that somebody else deployed, in a namespace of a kubeconfig's context.

    `kubeconfig` may be a list of paths, as KUBECONFIG is. `api_url` is empty for a port-forward.
    The passwords are not here: a Secret of the release or the environment has them.
    """

    kubeconfig: str
    context: str
    namespace: str
    release: str
    api_url: str = ""
    allow_faults: bool = False


@dataclass(frozen=True)
class LabSpec:
    """A lab to be: two equal specs can share one warm lab.

    Embedded, unless it is a `deployment` of ours, or an `attachment` to somebody else's.

    Deferred tasks need `triggerers`, of which an embedded lab has none unless asked.
    `env` goes to every Airflow process and worker (the shapes' parameters travel in it).
    `port` is the API server's and the UI's; 0 means any free one.
    `dags` is the folder of a user's own DAGs, for ours (embedded, kind).
    `cold` starts Airflow's daemons the plain way, not as forks (embedded).
    """

    airflow: Airflow
    schedulers: int = 2
    triggerers: int = 0
    kubelet: str = "fork"
    port: int = 0
    cold: bool = False
    env: dict[str, str] = field(default_factory=dict)
    dags: str = ""
    deployment: Deployment | None = None
    attachment: Attachment | None = None

    @property
    def kind(self) -> str:
        """Return which kind of lab it is."""
        if self.attachment is not None:
            return "cluster"
        return "embedded" if self.deployment is None else "kind"

    def takes_place_of(self, other: "LabSpec") -> bool:
        """Return whether a lab of the other spec can become one of this, where it stands."""
        place = (self.airflow, self.port)
        return self.kind == "embedded" == other.kind and place == (other.airflow, other.port)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `from_json` reads it back."""
        data: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return data

    @staticmethod
    def from_json(data: dict[str, Any]) -> "LabSpec":
        """Read what `to_json` returned; UserError for what another version of us wrote."""
        try:
            return msgspec.convert(data, LabSpec, dec_hook=lambda wanted, value: wanted(value))
        except msgspec.ValidationError as error:
            raise UserError(
                f"A lab of another version of this project is there: {error}.",
                "Take it down with that version.",
            ) from error


def read_spec(directory: Path) -> LabSpec:
    """Return what was asked of the lab in `directory`."""
    return LabSpec.from_json(_request(directory)["spec"])


def read_owner(directory: Path) -> tuple[int, float] | None:
    """Return the process (pid, birth) that the lab in `directory` ends with, None if it stays."""
    owner = _request(directory)["owner"]
    return (int(owner[0]), float(owner[1])) if owner else None


def read_checkout(directory: Path) -> str:
    """Return the checkout of this project that booted a lab; empty where that is not written."""
    return str(_request(directory).get("checkout", ""))


def _request(directory: Path) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((directory / "spec.json").read_text())
    return request


def write_request(directory: Path, spec: LabSpec, owner: tuple[int, float] | None) -> None:
    """Write down what lab is wanted, and whom it ends with; its user alone can read it."""
    request = {"spec": spec.to_json(), "owner": owner, "checkout": str(PROJECT)}
    write_whole(directory / "spec.json", json.dumps(request), mode=0o600)
