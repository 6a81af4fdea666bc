"""What labs have in common whose Airflow is a release of the Helm chart: a process is a pod."""

from pathlib import Path
from typing import Any

import psycopg
from kubernetes.client.exceptions import ApiException

from common.errors import UserError
from common.redaction import first_line
from common.waiting import until
from lab.base import ProcessEnd
from lab.kube.pods import DAEMONS, Process, process, processes
from lab.ready import live_schedulers
from lab.supervised import SupervisedLab

# Seconds; a kubelet waits longer from one restart of a container to the next.
_BACK = 300.0
_STEP = 0.5

_ROLES = ("api-server", "dag-processor", "scheduler", "triggerer")

NO_REQUESTS = "nothing of ours stands between its workers and its API server"
"""Why a release's workers are asked nothing by rule."""


class ReleaseLab(SupervisedLab):
    """A release in a namespace; the names of its processes are those of its pods."""

    pace = 6.0
    workers = "pods"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.namespace = str(self.endpoints["namespace"])
        self._restarts_when_killed: dict[str, int] = {}

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Return the names of the scheduler pods that are not on their way out."""
        return tuple(each.name for each in self._processes("scheduler"))

    def _pods(self, selector: str) -> list[Process]:
        own = f",release={self.release}" if self.release else ""
        return processes(self.kubernetes(), self.namespace, selector + own)

    def _processes(self, component: str) -> list[Process]:
        return self._pods(f"component={component}")

    @property
    def daemons(self) -> tuple[str, ...]:
        """Return the names of the pods of Airflow's own components."""
        return tuple(each.name for each in self._pods(DAEMONS))

    def _watched_pods(self) -> list[Process]:
        """Return the pods without which the lab is not healthy."""
        return self._pods(DAEMONS)

    def ends(self) -> list[ProcessEnd]:
        """Return how each pod's container ended before the one that is there now, oldest first."""
        found = [each.end for each in self._pods(DAEMONS) if each.end is not None]
        return sorted(found, key=lambda end: end.at)

    def process(self, role: str) -> str:
        """Return the pod of a role (`scheduler-2`: the second by name), or that has this name."""
        component, _, number = role.rpartition("-")
        if number.isdigit() and component in _ROLES:
            pods = self._processes(component)
            if 0 < int(number) <= len(pods):
                return pods[int(number) - 1].name
            raise UserError(f"There is no {role}: the lab has {len(pods)} of {component}.")
        if role in _ROLES:
            return self.process(f"{role}-1")
        return self._pod(role).name

    def _pod(self, name: str) -> Process:
        if (found := process(self.kubernetes(), self.namespace, name)) is None:
            raise UserError(f"Namespace {self.namespace} has no running pod {name!r}.")
        return found

    def _wanted_schedulers(self) -> int:
        return self.spec.schedulers

    def problems(self) -> list[str]:
        """Return what is wrong with the lab, in words; empty when it is healthy."""
        if (phase := self.state.phase) != "ready":
            return [f"the lab is {phase}"]
        found = [f"{each.name} is not ready" for each in self._watched_pods() if not each.ready]
        wanted = self._wanted_schedulers()
        if not wanted:
            found.append("there is no scheduler")
        try:
            alive = live_schedulers(self.dsn())
        except psycopg.Error as error:
            return [*found, f"the database does not answer: {first_line(error)}"]
        if alive < wanted:
            found.append(f"{alive} of {wanted} schedulers have a fresh heartbeat")
        return found

    def start(self, process: str) -> None:
        """Wait until the kubelet has restarted a killed process."""
        if not until(lambda: self._is_back(self._pod(process)), _BACK, _STEP):
            raise UserError(f"{process} was not ready again after {_BACK:.0f} s.")

    def _is_back(self, pod: Process) -> bool:
        """Tell whether a pod is ready again; what its status says may be older than its death."""
        return pod.ready and pod.restarts > self._restarts_when_killed.get(pod.name, -1)

    def pod_log(self, name: str) -> str | None:
        """Return what a worker pod wrote, None where nothing is kept."""
        try:
            answer: Any = self.kubernetes().read_namespaced_pod_log(
                name, self.namespace, container="base", _preload_content=False
            )
        except ApiException:
            return None
        return bytes(answer.data).decode(errors="replace")

    def logs(self) -> dict[str, Path]:
        """Return the log file of each component, by process name."""
        return {path.stem: path for path in sorted((self.directory / "logs").glob("*.log"))}
