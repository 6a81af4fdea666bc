"""Running API servers, and hands to use them the way the executor and a kubelet do."""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

from lab.kubeapi.kubeconfig import write_kubeconfig

CLUSTER_VARIABLE = "HA_CHAOS_TEST_KUBECONFIG"
WATCH_SECONDS = 15
_ADMISSION_SECONDS = 30.0
_NOBODY = "ha-chaos-nobody"


@dataclass(frozen=True)
class Server:
    """One running API server."""

    kind: str
    kubeconfig: Path
    logs: Path
    process: subprocess.Popen[bytes] | None = None
    url: str = ""


@contextmanager
def running_kubeapi(directory: Path, *options: str) -> Iterator[Server]:
    logs = directory / "logs"
    logs.mkdir(parents=True)
    command = [sys.executable, "-m", "lab.kubeapi", "--logs", str(logs), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().removeprefix("listening on ").strip()
            kubeconfig = write_kubeconfig(directory / "kubeconfig", url)
            yield Server("kubeapi", kubeconfig, logs, process, url)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


class KubernetesAPI:
    """A namespace of its own on one API server.

    On a cluster the controllers are at work too: they give the namespace its service account,
    and what is deleted there is gone only once they have seen to it.
    """

    def __init__(self, server: Server) -> None:
        self.kind = server.kind
        self.kubeconfig = server.kubeconfig
        self.logs = server.logs
        self.client = config.new_client_from_config(str(server.kubeconfig))
        self.core = client.CoreV1Api(self.client)
        self.namespace = f"contract-{uuid.uuid4().hex[:12]}"
        labels = {"ha-chaos-test": "contract"}
        self.core.create_namespace({"metadata": {"name": self.namespace, "labels": labels}})
        if self.shared:
            self._wait_until_pods_are_admitted()

    @property
    def shared(self) -> bool:
        """Whether others use the same API server, and this namespace is to be removed from it."""
        return self.kind == "cluster"

    def _wait_until_pods_are_admitted(self) -> None:
        """Wait for the service account and its token, without which a cluster refuses pods."""
        deadline = time.monotonic() + _ADMISSION_SECONDS
        trial = self.pod("trial")
        del trial["spec"]["automountServiceAccountToken"]
        while True:
            try:
                self.core.create_namespaced_pod(self.namespace, trial, dry_run="All")
            except ApiException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def remove(self) -> None:
        """Remove the namespace; its pods by force, for no kubelet would ever let them go."""
        self.core.delete_collection_namespaced_pod(self.namespace, grace_period_seconds=0)
        self.core.delete_namespace(self.namespace)

    def pod(self, name: str, **labels: str) -> dict[str, Any]:
        """Return a pod as the executor makes them, which no cluster's scheduler takes."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {"dag_id": "d", "task_id": "t", "try_number": "1"},
            },
            "spec": {
                "restartPolicy": "Never",
                "schedulerName": _NOBODY,
                "automountServiceAccountToken": False,
                "containers": [{"name": "base", "image": "worker", "args": ["run"]}],
            },
        }

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send what the client's own methods would refuse to; return code and body."""
        headers = {"Content-Type": "application/json"}
        parameters = self.client.param_serialize(
            method, path, body=body, header_params=headers, auth_settings=["BearerToken"]
        )
        answer = self.client.call_api(*parameters)
        return answer.status, bytes(answer.read())

    def create(self, name: str, **labels: str) -> Any:
        return self.core.create_namespaced_pod(self.namespace, self.pod(name, **labels))

    def read(self, name: str) -> Any:
        return self.core.read_namespaced_pod(name, self.namespace)

    def patch(self, name: str, body: Any, **options: Any) -> Any:
        return self.core.patch_namespaced_pod(name, self.namespace, body, **options)

    def label(self, name: str, **labels: str | None) -> Any:
        return self.patch(name, {"metadata": {"labels": labels}})

    def set_phase(self, name: str, phase: str) -> Any:
        body = {"status": {"phase": phase}}
        return self.core.patch_namespaced_pod_status(name, self.namespace, body)

    def bind(self, name: str, node: str = "node-1") -> None:
        """Assign the pod to a node, as a scheduler does; the answer is a Status, no Binding."""
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
        self.core.create_namespaced_pod_binding(
            name, self.namespace, client.V1Binding.from_dict(binding), _preload_content=False
        )

    def delete(self, name: str, **options: Any) -> Any:
        return self.core.delete_namespaced_pod(name, self.namespace, **options)

    def names(self, **selectors: Any) -> list[str]:
        items = self.core.list_namespaced_pod(self.namespace, **selectors).items
        return [item.metadata.name for item in items]

    def revision(self) -> str:
        """Return the resource version of now."""
        return str(self.core.list_namespaced_pod(self.namespace).metadata.resource_version)

    def events(self, count: int, **options: Any) -> list[dict[str, Any]]:
        """Return the first events of a watch; fewer if they do not come in time."""
        watcher = watch.Watch()
        seen = []
        for event in watcher.stream(
            self.core.list_namespaced_pod,
            self.namespace,
            timeout_seconds=WATCH_SECONDS,
            **options,
        ):
            seen.append(event)
            if len(seen) == count:
                break
        watcher.stop()
        return seen

    def told(self, count: int, **options: Any) -> list[tuple[str, str]]:
        """Return the first events of a watch as (type, pod name)."""
        return [
            (event["type"], event["object"].metadata.name)
            for event in self.events(count, **options)
        ]


def remove_stale_namespaces(kubeconfig: Path) -> None:
    """Remove what sessions that were killed left on a cluster an hour ago or earlier."""
    core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    limit = datetime.now(UTC) - timedelta(hours=1)
    for namespace in core.list_namespace(label_selector="ha-chaos-test=contract").items:
        if namespace.metadata.creation_timestamp < limit:
            core.delete_collection_namespaced_pod(namespace.metadata.name, grace_period_seconds=0)
            core.delete_namespace(namespace.metadata.name)


@contextmanager
def own_namespace(server: Server) -> Iterator[KubernetesAPI]:
    """Yield a namespace; a cluster, unlike a server of our own, gets rid of it afterwards."""
    api = KubernetesAPI(server)
    try:
        yield api
    finally:
        if api.shared:
            api.remove()
