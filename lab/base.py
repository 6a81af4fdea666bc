"""What every kind of lab offers, so that suites, faults and the recorder need not know the kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lab.api import AirflowAPI


@dataclass(frozen=True)
class Airflow:
    """One installed Airflow: what the user asked for, and the interpreter that imports it.

    `key` changes whenever the installed code does; it names the migrated database template.
    `pythonpath` goes before the interpreter's own packages (a source checkout's `src` folders).
    """

    label: str
    version: str
    python: Path
    pythonpath: tuple[Path, ...] = ()
    key: str = ""


class Lab(Protocol):
    """One running Airflow under test."""

    kind: str
    airflow: Airflow
    directory: Path
    namespace: str
    kubeconfig: Path
    schedulers: tuple[str, ...]
    api: "AirflowAPI"
    proxy_control: str

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

    def pod_log(self, name: str) -> str | None:
        """Return what a worker pod wrote, None where nothing is kept."""
        ...

    def logs(self) -> dict[str, Path]:
        """Return the log file of each component, by process name."""
        ...

    def ailments(self) -> list[str]:
        """Return what is wrong with the lab, in words; empty when it is healthy."""
        ...
