"""Plain pods to be disturbed, and the least of a lab that a fault of nodes and pods needs."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes.client.exceptions import ApiException

from lab.kind.node import Node
from lab.undo import Undo


class PodsLab:
    """A namespace of plain pods, each a process."""

    def __init__(self, api: Any, namespace: str, undo: Undo) -> None:
        self.namespace = namespace
        self.undo = undo
        self._api = api

    def kubernetes(self) -> Any:
        return self._api

    def process(self, role: str) -> str:
        return role

    def node(self, process: str) -> Node:
        return Node(str(self.read(process).spec.node_name), self.undo)

    def read(self, process: str) -> Any:
        return self._api.read_namespaced_pod(process, self.namespace)

    def container(self, process: str) -> str:
        return str(self.read(process).status.container_statuses[0].container_id)

    def beats(self, process: str) -> str:
        """Return the last line that a pod of `beating` wrote."""
        return str(self._api.read_namespaced_pod_log(process, self.namespace, tail_lines=1))


@contextmanager
def beating(lab: PodsLab, image: str, node: str) -> Iterator[str]:
    """Run a pod that writes a line every 0.1 s; return its name once it runs."""
    name = f"beat-{uuid.uuid4().hex[:6]}"
    script = "i=0; while :; do echo $((i+=1)); sleep 0.1; done"
    container = {
        "name": "base",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", script],
    }
    spec = {
        "nodeName": node,
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
    }
    api = lab.kubernetes()
    api.create_namespaced_pod(lab.namespace, {"metadata": {"name": name}, "spec": spec})
    try:
        assert eventually(lambda: _runs(lab, name), 90), f"{name} does not run"
        assert eventually(lambda: lab.beats(name) != "", 30), f"{name} writes nothing"
        yield name
    finally:
        api.delete_namespaced_pod(name, lab.namespace, grace_period_seconds=0)


def _runs(lab: PodsLab, name: str) -> bool:
    status = lab.read(name).status
    return status.phase == "Running" and bool(status.container_statuses[0].container_id)


def stands_still(lab: PodsLab, name: str) -> bool:
    """Tell whether a pod wrote nothing for a second."""
    time.sleep(0.3)  # what it wrote before is still on its way to the log
    before = lab.beats(name)
    time.sleep(1.0)
    return lab.beats(name) == before


def goes_on(lab: PodsLab, name: str) -> bool:
    before = lab.beats(name)
    return eventually(lambda: lab.beats(name) != before)


def answers(node: Node, address: str) -> bool:
    """Tell whether a pod's network sends an answer in half a second: a refusal is one."""
    script = f"timeout 0.5 bash -c '</dev/tcp/{address}/9' 2>/dev/null; test $? = 1 && echo yes"
    return "yes" in node.run(["bash", "-c", f"{script} || echo no"])


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except ApiException:
            pass
        time.sleep(0.1)
    return False
