"""A namespace on a running Kubernetes API, and real kubelets for it."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.contract.apis import KubernetesAPI

PATIENCE = 120.0
_POLL = 0.05
_MARK = "HA_CHAOS_TEST_MARK"


class Cluster:
    """Pods of one namespace, run by the kubelets of one test."""

    def __init__(self, api: KubernetesAPI, directory: Path) -> None:
        self.api = api
        self.logs = directory / "pods"
        self.work = directory / "work"
        self.logs.mkdir()
        self.work.mkdir()
        self.mark = uuid.uuid4().hex

    @contextmanager
    def kubelet(
        self, *options: str, env: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a kubelet that is ready; whatever is left of it afterwards is killed."""
        marked = {_MARK: self.mark, **(env or {})}
        api = self.api
        with kubelet_of(
            api.kubeconfig, api.namespace, self.logs, self.work, *options, env=marked
        ) as process:
            try:
                yield process
            finally:
                process.kill()
                for left in self.processes():
                    with suppress(psutil.NoSuchProcess):
                        left.kill()

    def create(self, name: str, *words: str, grace: int = 30, **container: Any) -> Any:
        """Create a pod whose container runs `words`."""
        pod = self.api.pod(name)
        pod["spec"]["terminationGracePeriodSeconds"] = grace
        pod["spec"]["containers"][0] |= {"args": list(words), **container}
        return self.api.core.create_namespaced_pod(self.api.namespace, pod)

    def python(self, name: str, code: str, *arguments: str, **options: Any) -> Any:
        """Create a pod whose container runs Python code."""
        return self.create(name, "python", "-c", code, *arguments, **options)

    def until(self, name: str, seen: Callable[[Any], bool]) -> Any:
        """Return the pod as soon as it looks as wanted."""
        deadline = time.monotonic() + PATIENCE
        while not seen(pod := self.api.read(name)):
            assert time.monotonic() < deadline, f"waited in vain: {pod.status}"
            time.sleep(_POLL)
        return pod

    def in_phase(self, name: str, phase: str) -> Any:
        """Return the pod once it is in a phase."""
        return self.until(name, lambda pod: pod.status.phase == phase)

    def terminated(self, name: str) -> Any:
        """Return how a pod's container ended, once it did."""
        pod = self.until(name, lambda pod: pod.status.phase in ("Succeeded", "Failed"))
        return pod.status.container_statuses[0].state.terminated

    def waiting_for(self, name: str, reason: str) -> Any:
        """Return why a pod's container does not run, once the reason is `reason`."""

        def waits(pod: Any) -> bool:
            statuses = pod.status.container_statuses
            state = statuses[0].state.waiting if statuses else None
            return state is not None and state.reason == reason

        return self.until(name, waits).status.container_statuses[0].state.waiting

    def gone(self, name: str) -> None:
        """Wait until a pod is removed from the API."""
        eventually(lambda: name not in self.api.names())

    def log(self, name: str) -> str:
        """Return what a pod wrote so far."""
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Return all living processes that descend from this test's kubelets."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get(_MARK) == self.mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def nothing_left(self) -> None:
        """Wait until no process of this test's kubelets lives."""
        eventually(lambda: not self.processes())


@contextmanager
def kubelet_of(
    kubeconfig: Path,
    namespace: str,
    logs: Path,
    work: Path,
    *options: str,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a kubelet that is ready."""
    command = [sys.executable, "-m", "lab.kubelet", "--namespace", namespace]
    command += ["--kubeconfig", str(kubeconfig), "--logs", str(logs), "--work", str(work)]
    command += ["--python", sys.executable, *options]
    environ = {**os.environ, **(env or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def eventually(met: Callable[[], bool]) -> None:
    """Wait until a condition is met; fail if it never is."""
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(_POLL)
