"""The embedded lab, as those see it who use it: booted, spoken to, cleaned."""

from pathlib import Path

import psutil

from common.errors import UserError
from common.spawn import is_same_process
from lab.base import ProcessEnd
from lab.embedded.components import ANSWERS, NAMESPACE
from lab.embedded.envtest import ASSETS_VARIABLE
from lab.ending import ask
from lab.kubelet.kubelet import write_start_delay
from lab.ready import live_schedulers
from lab.state import ProcessState
from lab.supervised import SupervisedLab

UNNAMED = "unnamed"
_NOWHERE = ("", "127.0.0.1")


class EmbeddedLab(SupervisedLab):
    """A running embedded lab."""

    kind = "embedded"
    namespace = NAMESPACE
    powers = frozenset(
        {"pause", "kill", "hold", "restart-database", "delay-pods", "proxy", "worker-requests"}
        | {"kube-api", "explore", "stop", "pools"}
    )
    cannot = dict.fromkeys(
        ("node", "netem"),
        "the embedded lab's processes run on this machine itself, not on a node",
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.workers = self.spec.kubelet
        # A lab of another checkout may have no such proxy.
        self.request_control = str(self.endpoints.get("requests", ""))
        self.answers = directory / ANSWERS if self.request_control else None
        self.kube_api = str(self.endpoints["kubernetes"])

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Return the names of the scheduler processes."""
        return tuple(f"scheduler-{n}" for n in range(1, self.spec.schedulers + 1))

    @property
    def daemons(self) -> tuple[str, ...]:
        """Return the names of Airflow's own processes."""
        triggerers = (f"triggerer-{n}" for n in range(1, self.spec.triggerers + 1))
        return ("api-server", "dag-processor", *self.schedulers, *triggerers)

    def ends(self) -> list[ProcessEnd]:
        """Return which daemons ended by themselves or were told to, and when they came back."""
        return self.state.ends

    def missing(self, power: str) -> str | None:
        """Return why the lab has not a power, None when it has it."""
        if power == "kube-api" and not self.kube_api.startswith("http:"):
            return f"the lab's Kubernetes API is a real one ({ASSETS_VARIABLE})"
        return super().missing(power)

    def process(self, role: str) -> str:
        """Return the process of a role: here they have the same names."""
        if role not in self.state.processes:
            known = ", ".join(sorted(self.state.processes))
            raise UserError(f"The lab has no process {role!r}.", f"There are {known}.")
        return role

    def name_of(self, client: str) -> str:
        """Return the process of a database session, or that it is `unnamed`.

        A session without a name is known by its address, and here that says nothing.
        """
        return UNNAMED if client in _NOWHERE else client

    def pause(self, process: str) -> None:
        """Freeze one process (SIGSTOP on all of its processes) until `resume`."""
        ask(self.directory, op="pause", process=process)

    def resume(self, process: str) -> None:
        """Let a frozen process go on."""
        ask(self.directory, op="resume", process=process)

    def kill(self, process: str) -> None:
        """Kill one process (SIGKILL), as an out-of-memory kill would."""
        ask(self.directory, op="kill", process=process)

    def stop_process(self, process: str) -> None:
        """Tell one process to end: SIGTERM to all that it forked, as the image's init passes it."""
        ask(self.directory, op="stop-process", process=process)

    def start(self, process: str) -> None:
        """Start a killed process again."""
        ask(self.directory, op="start", process=process)

    def restart_database(self, how: str) -> None:
        """Restart PostgreSQL on its port, after a `fast` or an `immediate` shutdown."""
        ask(self.directory, timeout=60.0, op="restart-database", how=how)

    def delay_pods(self, seconds: float) -> None:
        """Make each pod that starts from now on take `seconds` longer; the kubelet reads it."""
        write_start_delay(self.directory / "airflow", seconds)

    def pod_log(self, name: str) -> str | None:
        """Return what a worker pod wrote, None where nothing is kept."""
        path = self.directory / "pods" / f"{name}.log"
        return path.read_text(errors="replace") if path.is_file() else None

    def logs(self) -> dict[str, Path]:
        """Return the log file of each component, by process name."""
        return {name: Path(each.log) for name, each in self.state.processes.items()}

    def problems(self) -> list[str]:
        """Return what is wrong with the lab, in words; empty when it is healthy."""
        state = self.state
        if state.phase != "ready":
            return [f"the lab is {state.phase}"]
        found = [
            f"{name} {complaint}"
            for name, process in state.processes.items()
            if (complaint := _complaint(process))
        ]
        if not found and (alive := live_schedulers(self.dsn())) < len(self.schedulers):
            found.append(f"{alive} of {len(self.schedulers)} schedulers have a fresh heartbeat")
        return found

    def clean(self) -> None:
        """Return the lab to how it was booted: no runs, no pods; UserError when it will not."""
        self.delay_pods(0.0)
        super().clean()


def _complaint(process: ProcessState) -> str:
    """Look at the process itself: the supervisor learns of an end a moment later."""
    if process.exit_code is not None:
        return f"ended with exit code {process.exit_code}"
    try:
        frozen = psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return "ended"
    if not is_same_process(process.pid, process.created):
        return "ended"
    return "is frozen" if frozen else ""
