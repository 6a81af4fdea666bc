"""A lab that is somebody else's deployment of the chart, in a cluster of a kubeconfig."""

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from common.errors import UserError
from lab.api import AirflowAPI, Login
from lab.cluster.identity import Names
from lab.cluster.undo import promise, undo_argv
from lab.cluster.url import Database
from lab.kube import execs
from lab.kube.client import api_client
from lab.kube.pods import own_workers
from lab.kube.release import NO_REQUESTS, ReleaseLab

REFUSAL = "--lab cluster disturbs nothing without --allow-faults"

_NAMELESS = (
    "holds and delays find a process by its application_name, and here the pods set none: "
    "`helm upgrade ... --reuse-values -f charts-values/identity.yaml` sets PGAPPNAME"
)

_ACTIVE = ("running", "queued")


class ClusterLab(ReleaseLab):
    """A release that was there before us, and is there after us, as it was."""

    kind = "cluster"
    powers = frozenset({"pause", "kill", "hold"})
    cannot: ClassVar[Mapping[str, str]] = {
        "node": "the cluster's nodes are not ours",
        "netem": "the cluster's nodes are not ours",
        "restart-database": "the database is not ours",
        "pools": "the pools are not ours",
        "delay-pods": "the release was not installed with charts-values/slow-pods.yaml",
        "proxy": "the lab has no proxy in front of its database",
        "worker-requests": NO_REQUESTS,
        "kube-api": "the cluster's Kubernetes API is not ours",
    }

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        assert self.spec.attachment is not None
        self.attachment = self.spec.attachment
        self.release = str(self.endpoints["release"])
        self.neighbours = tuple(self.endpoints.get("neighbours", ()))
        self.not_covered = tuple(self.endpoints.get("not_covered", ()))
        self.worker_pods = own_workers(self.release, self.neighbours)
        self.proxy_control = ""
        self.api = AirflowAPI(str(self.endpoints["api"]), login=Login.from_environment())
        self.unidentified = str(self.endpoints["no_identity"])
        self._names = Names(self.kubernetes(), self.namespace)

    def undo_in_database(self, removals: Sequence[Sequence[str]]) -> None:
        """Write down what takes something out of the database, before it is put there.

        `removals` are commands of ours as they follow `python -m`; the database is in HA_CHAOS_DSN.
        """
        promise(self.directory, removals)

    def dsn(self) -> str:
        """Return libpq conninfo of the metadata database, with the password as it is now."""
        endpoints = self.state.endpoints
        return Database(**endpoints["database"]).conninfo(endpoints["postgres"])

    def name_of(self, client: str) -> str:
        """Return the process of a database session, by its name or its pod's address."""
        return self._names(client)

    def missing(self, power: str) -> str | None:
        """Return why the lab has not a power, None when it has it."""
        if reason := self.never(power):
            return reason
        if not self.attachment.allow_faults:
            return REFUSAL
        if power == "hold" and self.endpoints["identity"] != "name":
            return _NAMELESS
        if power in ("pause", "kill"):
            pod = self._processes("scheduler")[0]
            client = api_client(self.kubeconfig)
            if not execs.can_signal(client, self.namespace, pod.name, pod.container):
                return f"no signal stops {pod.name}: its main process is PID 1 of its container"
        return super().missing(power)

    def pause(self, process: str) -> None:
        """Freeze one process: SIGSTOP for all of its container but the init."""
        self.undo.add(self._resuming(process))
        self._signal(process, signal.SIGSTOP)

    def resume(self, process: str) -> None:
        """Let a frozen process go on; fine where it is not frozen."""
        self._signal(process, signal.SIGCONT)
        self.undo.done(self._resuming(process))

    def kill(self, process: str) -> None:
        """Kill a container's processes (SIGKILL); the kubelet starts them again."""
        self._restarts_when_killed[process] = self._pod(process).restarts
        self._signal(process, signal.SIGKILL)

    def pausing(self, dag_id: str) -> Callable[[], None]:
        """Write down what has a DAG go on, before it is paused; return what does so now."""
        unpausing = undo_argv(self.directory, "unpause", dag_id)
        self.undo.add(unpausing)

        def unpause() -> None:
            self.api.pause_dag(dag_id, paused=False)
            self.undo.done(unpausing)

        return unpause

    def _resuming(self, process: str) -> list[str]:
        return undo_argv(self.directory, "resume", process)

    def _signal(self, process: str, number: signal.Signals) -> None:
        if not self.attachment.allow_faults:
            raise UserError(f"{process} is left alone: {REFUSAL}.")
        pod = self._pod(process)
        client = api_client(self.kubeconfig)
        execs.signal_all(client, self.namespace, pod.name, pod.container, number)

    def restart_database(self, how: str) -> None:
        """Refuse: the database is not ours."""
        raise UserError(f"No {how} restart: {self.cannot['restart-database']}.")

    def delay_pods(self, seconds: float) -> None:
        """Refuse: the pod template is not ours."""
        raise UserError(f"Pods cannot be slowed by {seconds:g} s: {self.cannot['delay-pods']}.")

    def pod_log(self, name: str) -> str | None:
        """Return what a worker pod wrote: as the API has it, or as it was followed until it went.

        Deployments delete worker pods when they have ended, which may be before anybody asks.
        """
        if (text := super().pod_log(name)) is not None:
            return text
        for followed in (f"{name}.log", f"{name}.base.log"):
            path = self.directory / "pods" / followed
            if path.exists():
                return path.read_text(errors="replace")
        return None

    def _wanted_schedulers(self) -> int:
        return len(self.schedulers)

    def clean(self) -> None:
        """End what an earlier test left: runs and pauses of the factory's DAGs, by their tag.

        Needed where faults are allowed only: otherwise no test made anything.
        """
        if not self.attachment.allow_faults:
            return
        dags = self.api.call("GET", "/api/v2/dags", params={"tags": ["ha-chaos"], "limit": 100})
        for dag in dags["dags"]:
            if dag["is_paused"]:
                self.api.pause_dag(dag["dag_id"], paused=False)
            path = f"/api/v2/dags/{dag['dag_id']}/dagRuns"
            runs = self.api.call("GET", path, params={"state": _ACTIVE, "limit": 100})
            for run in runs["dag_runs"]:
                self.api.mark_run(dag["dag_id"], run["dag_run_id"])
