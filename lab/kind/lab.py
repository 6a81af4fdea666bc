"""A lab that is a release of the Helm chart in a namespace of a kind cluster."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import ClassVar

from common.errors import UserError
from common.waiting import until
from lab.database import answers
from lab.kind import lease, namespace
from lab.kind.node import NO_NETEM, Node
from lab.kube import execs
from lab.kube.client import api_client
from lab.kube.pods import Process
from lab.kube.release import NO_REQUESTS, ReleaseLab
from lab.spec import LabSpec

_STEP = 0.2
_BACK = 120.0
_SIGNALS = {"fast": "INT", "immediate": "QUIT"}

LAYERS = {"delay-pods": "slow-pods"}
"""Powers that a release has by a file of charts-values/ which costs every pod something."""


class KindLab(ReleaseLab):
    """A release that we installed on kind, with our Postgres and our proxy beside it."""

    kind = "kind"
    powers = frozenset(
        {"pause", "kill", "hold", "restart-database", "delay-pods", "proxy", "node", "netem"}
        | {"pools"}
    )
    cannot: ClassVar[Mapping[str, str]] = {
        "worker-requests": NO_REQUESTS,
        "kube-api": "the cluster's Kubernetes API is a real one, which does nothing of the kind",
    }
    clean_seconds = 90.0

    @classmethod
    def lease(cls, spec: LabSpec, timeout: float, *, alone: bool) -> AbstractContextManager[None]:
        """Lend the kind cluster, in whatever session others want it."""
        assert spec.deployment is not None
        lend = lease.exclusive if alone else lease.shared
        return lend(spec.deployment.cluster, timeout)

    def missing(self, power: str) -> str | None:
        """Return why the lab has not a power, None when it has it."""
        assert self.spec.deployment is not None
        layer = LAYERS.get(power)
        if layer and layer not in self.spec.deployment.layers:
            return f"the release was installed without the values of charts-values/{layer}.yaml"
        if power == "netem" and not self.node(self.process("scheduler")).has_netem():
            return NO_NETEM
        return super().missing(power)

    def node(self, process: str) -> Node:
        """Return the node that runs a process; what is done to it is in the lab's undo list."""
        return Node(self._pod(process).node, self.undo)

    def pause(self, process: str) -> None:
        """Freeze one process by the freezer of its container's cgroup, through the node."""
        pod = self._pod(process)
        Node(pod.node, self.undo).freeze(pod.container_id)

    def resume(self, process: str) -> None:
        """Let a frozen process go on; fine where it is not frozen."""
        pod = self._pod(process)
        Node(pod.node, self.undo).thaw(pod.container_id)

    def kill(self, process: str) -> None:
        """Kill the main process of a pod's container (SIGKILL); the kubelet starts it again."""
        pod = self._pod(process)
        self._restarts_when_killed[process] = pod.restarts
        Node(pod.node, self.undo).kill(pod.container_id)

    def restart_database(self, how: str) -> None:
        """Restart PostgreSQL: its postmaster is told to stop, and the kubelet starts it again."""
        if how not in _SIGNALS:
            raise UserError(f"A database restarts {' or '.join(_SIGNALS)}, not {how!r}.")
        pod = f"{namespace.POSTGRES}-0"
        before = self._pod(pod).restarts
        client = api_client(self.kubeconfig)
        argv = ["sh", "-c", f"kill -{_SIGNALS[how]} 1"]
        execs.run(client, self.namespace, pod, "postgres", argv)

        def is_back() -> bool:
            return self._pod(pod).restarts > before and answers(self.dsn())

        if not until(is_back, _BACK, _STEP):
            raise UserError(f"PostgreSQL was not back after {_BACK:.0f} s.")

    def delay_pods(self, seconds: float) -> None:
        """Make each worker pod that starts from now on take `seconds` longer."""
        if reason := self.missing("delay-pods"):
            raise UserError(f"Pods cannot be slowed: {reason}.")
        body = {"data": {namespace.START_DELAY: f"{seconds:g}"}}
        self.kubernetes().patch_namespaced_config_map(namespace.WORKER, self.namespace, body)

    def _watched_pods(self) -> list[Process]:
        return [*super()._watched_pods(), *self._pods(f"app={namespace.PROXY}")]

    def clean(self) -> None:
        """Return the lab to how it was deployed: no runs, no worker pods."""
        self.undo.run()
        if not self.missing("delay-pods"):
            self.delay_pods(0.0)
        super().clean()
