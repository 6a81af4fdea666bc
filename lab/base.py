"""What every kind of lab offers, so that suites, faults and the recorder need not know the kind."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from packaging.version import InvalidVersion, Version

from common.errors import UserError

if TYPE_CHECKING:
    from lab.api import AirflowAPI
    from lab.undo import Undo

WORKERS = "kubernetes_executor=True"
"""The label that KubernetesExecutor puts on every pod it makes (its pod_generator.py)."""

BUILD_LENGTH = 12


@dataclass(frozen=True)
class Airflow:
    """One Airflow under test: what the user asked for, and where it is had.

    On this machine it is an interpreter that imports it: `key` changes whenever the installed code
    does and names the migrated database template; `pythonpath` goes before the interpreter's own
    packages (a source checkout's `src` folders). In a cluster it is an `image`.

    `build` is a digest of the code that runs, the same for the same code however it was had, and
    empty where it is not known; `packages` are the versions of Airflow's parts, SQLAlchemy and the
    database drivers, by package, and `drivers` those of them that are used, the synchronous one
    first. A version is not a build: people patch releases in place.
    """

    label: str
    version: str
    python: Path = Path()
    pythonpath: tuple[Path, ...] = ()
    key: str = ""
    image: str = ""
    build: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    drivers: tuple[str, ...] = ()


def same_version(one: str, other: str) -> bool:
    """Return whether two versions are one, local parts (+mine.1) aside; `head` is itself alone."""
    try:
        return Version(one).public == Version(other).public
    except InvalidVersion:
        return one == other


def require_version(asked: str, reported: str) -> None:
    """Raise UserError unless the API server reports the version that was asked for.

    What is asked for names it three times: the package that was installed, the image's tag, the
    chart's airflowVersion. Each may be overridden, and none is proof of what answers.
    """
    if not same_version(asked, reported):
        raise UserError(
            f"Airflow {asked} was asked for, but the API server reports {reported}.",
            "What runs is another than its name says: look at the image's tag, and at values of "
            "your own (images, defaultAirflowTag).",
        )


def image_build(digests: Iterable[str]) -> str:
    """Return the build that images are, by their digests as a container runtime reports them.

    Such as docker.io/apache/airflow@sha256:ab.. or sha256:ab..; empty where there is none. A tag
    may be given to other code at any time, a digest may not. A release that is half-way from one
    image to another is a build of its own.
    """
    found = sorted({each.rpartition("sha256:")[2] for each in digests if "sha256:" in each})
    if len(found) > 1:
        return hashlib.sha256(" ".join(found).encode()).hexdigest()[:BUILD_LENGTH]
    return found[0][:BUILD_LENGTH] if found else ""


@dataclass(frozen=True)
class ProcessEnd:
    """A daemon of Airflow's that ended by itself, or in good order, when it was told to.

    `at` and `again`, when it was started again (0: it was not yet), are in unix seconds;
    `last_words` are the last line of its log that says why.
    """

    process: str
    exit_code: int | None
    at: float
    last_words: str = ""
    again: float = 0.0


class Lab(Protocol):
    """One running Airflow under test.

    A process is named as its Postgres application_name is: `scheduler-1` here, its pod's name in a
    cluster. What a lab can do to itself are its powers; where one is `missing`, the method that
    belongs to it raises UserError, or is not there.
    """

    kind: str
    pace: float
    """How many times as long as on the embedded lab things take: pods that start, runs that end."""

    workers: str
    """What its workers are: `process`, `fork`, `simulated`, or real `pods`."""

    unidentified: str
    """Why the schedulers cannot be told apart in the database; empty where they can."""

    release: str
    """The Helm release that its worker pods say they are of, where it is somebody else's."""

    neighbours: tuple[str, ...]
    """Other releases of Airflow in its namespace."""

    not_covered: tuple[str, ...]
    """What of it no recorder sees, in words."""

    worker_pods: str
    """The label selector of its worker pods, and of nobody else's."""

    boot: dict[str, float]
    """The seconds that each part of its boot took."""

    request_control: str
    """Where rules for requests of workers are taken; empty where the lab has no such proxy."""

    answers: Path | None
    """The file of what was answered to workers, None where nobody writes that down."""

    airflow: Airflow
    directory: Path
    namespace: str
    kubeconfig: Path
    api: "AirflowAPI"
    proxy_control: str
    undo: "Undo"

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Return the names of the scheduler processes."""
        ...

    def process(self, role: str) -> str:
        """Return the process of a role (`scheduler-2`, `api-server`), or that has this name."""
        ...

    def name_of(self, client: str) -> str:
        """Return the process whose database sessions have this name, or come from this address."""
        ...

    def missing(self, power: str) -> str | None:
        """Return why the lab has not a power, in words for people; None when it has it.

        What no lab of its kind has is known before there is one: `lab.kinds.missing`.
        """
        ...

    def dsn(self) -> str:
        """Return libpq conninfo of the metadata database, as its ordinary owner, past the proxy."""
        ...

    def kubernetes(self) -> Any:
        """Return a `kubernetes.client.CoreV1Api` for the lab's Kubernetes API."""
        ...

    def pause(self, process: str) -> None:
        """Freeze one process (SIGSTOP on all of its processes) until `resume`."""
        ...

    def resume(self, process: str) -> None:
        """Let a frozen process go on."""
        ...

    def kill(self, process: str) -> None:
        """Kill one process (SIGKILL), as an out-of-memory kill would."""
        ...

    def start(self, process: str) -> None:
        """Have a killed process running again; where the kubelet does that, wait for it."""
        ...

    def restart_database(self, how: str) -> None:
        """Restart PostgreSQL, `fast` (sessions are told) or `immediate` (a crash, then recovery).

        Returns when it takes connections again.
        """
        ...

    def pausing(self, dag_id: str) -> Callable[[], None]:
        """Promise that a DAG goes on which is about to be paused; return what has it go on."""
        ...

    def delay_pods(self, seconds: float) -> None:
        """Make each pod that starts from now on take `seconds` longer; 0 for no longer."""
        ...

    def pod_log(self, name: str) -> str | None:
        """Return what a worker pod wrote, None where nothing is kept."""
        ...

    def logs(self) -> dict[str, Path]:
        """Return the log file of each component, by process name."""
        ...

    @property
    def daemons(self) -> tuple[str, ...]:
        """Return the names of Airflow's own processes, workers left out."""
        ...

    def ends(self) -> list[ProcessEnd]:
        """Return which daemons ended without being killed, as far back as is known, in order."""
        ...

    def problems(self) -> list[str]:
        """Return what is wrong with the lab, in words; empty when it is healthy."""
        ...
