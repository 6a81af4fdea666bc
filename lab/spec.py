"""What is asked of a lab, and what is known of it while it lives; both kept as JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from common.errors import UserError
from lab.base import Airflow, ProcessEnd

KUBELET_MODES = ("process", "fork", "simulated")


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
    `start_delay` is how long a pod waits before it starts, in seconds.
    `port` is the API server's and the UI's; 0 means any free one.
    """

    airflow: Airflow
    schedulers: int = 2
    triggerers: int = 0
    kubelet: str = "fork"
    start_delay: float = 0.0
    port: int = 0
    env: dict[str, str] = field(default_factory=dict)
    deployment: Deployment | None = None
    attachment: Attachment | None = None

    @property
    def kind(self) -> str:
        """Return which kind of lab it is."""
        if self.attachment is not None:
            return "cluster"
        return "embedded" if self.deployment is None else "kind"

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


@dataclass
class ProcessState:
    """One process of a lab: its pid, birth (pids are reused), log, and exit code once it ended."""

    pid: int
    created: float
    log: str
    exit_code: int | None = None


@dataclass
class LabState:
    """A lab's life as its supervisor writes it: `phase` is starting, ready, failed or stopped.

    `ends` are the latest ends of daemons that nobody had asked for.
    """

    phase: str = "starting"
    doing: str = ""
    error: str = ""
    hint: str = ""
    supervisor: int = 0
    created: float = 0.0
    endpoints: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, ProcessState] = field(default_factory=dict)
    boot: dict[str, float] = field(default_factory=dict)
    ends: list[ProcessEnd] = field(default_factory=list)

    def save(self, directory: Path) -> None:
        """Write the state at once and whole; it holds the passwords, so its owner alone reads."""
        target = directory / "state.json"
        building = target.with_suffix(".new")
        building.touch(0o600)
        building.write_text(json.dumps(asdict(self), indent=1))
        building.replace(target)

    @staticmethod
    def load(directory: Path) -> "LabState | None":
        """Read a lab's state; None when there is none (yet, or any more).

        What only another version of this project knows of it is left out: labs of all checkouts
        stand side by side.
        """
        try:
            return msgspec.json.decode((directory / "state.json").read_bytes(), type=LabState)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
