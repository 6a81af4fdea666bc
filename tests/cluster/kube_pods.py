"""Pods for the tests of lab.kube: a small server in one, and the others that go wrong."""

import time
from collections.abc import Callable
from typing import Any

from kubernetes.client import ApiException

# A server in a pod: a line says what is wanted. `take N` answers with the digest of N bytes,
# `give N` sends N bytes that everybody can compute, `hang` says hello and nothing else.
SERVER = """
import hashlib, socketserver, threading, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        verb, count = self.rfile.readline().split()
        if verb == b"take":
            digest = hashlib.sha256()
            left = int(count)
            while left:
                data = self.rfile.read1(min(left, 65536))
                digest.update(data)
                left -= len(data)
            self.wfile.write(digest.hexdigest().encode())
        elif verb == b"give":
            self.wfile.write(hashlib.shake_128(b"x").digest(int(count)))
        else:
            self.wfile.write(b"hello")
            time.sleep(3600)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
Server(("127.0.0.1", 7000), Handler).serve_forever()
"""
PORT = 7000


def pod(name: str, image: str, *command: str, **container: Any) -> dict[str, Any]:
    """Return a pod of one container, labelled app=`name`, that ends at once when it is deleted."""
    main = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", **container}
    if command:
        main["command"] = list(command)
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [main], "terminationGracePeriodSeconds": 0},
    }


def server(name: str, image: str) -> dict[str, Any]:
    """Return the pod of SERVER; it is ready when it listens."""
    probe = {
        "exec": {"command": ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT}; echo hang 0 >&3"]}
    }
    return pod(
        name,
        image,
        "python3",
        "-c",
        SERVER,
        readinessProbe={**probe, "periodSeconds": 1, "timeoutSeconds": 5},
    )


def create(core: Any, namespace: str, body: dict[str, Any]) -> str:
    """Create a pod and return its name; a new namespace has no service account for a moment."""

    def created() -> bool:
        try:
            core.create_namespaced_pod(namespace, body)
        except ApiException as error:
            if error.status not in (403, 500):
                raise
            return False
        return True

    eventually(created)
    return str(body["metadata"]["name"])


def is_running(core: Any, namespace: str, name: str) -> bool:
    found = core.read_namespaced_pod(name, namespace).status
    return bool(found.phase == "Running")


def is_ready(core: Any, namespace: str, name: str) -> bool:
    found = core.read_namespaced_pod(name, namespace).status.conditions or ()
    return any(each.type == "Ready" and each.status == "True" for each in found)


def eventually(what: Callable[[], Any], timeout: float = 120.0) -> Any:
    """Return what `what` returns, as soon as that is true."""
    deadline = time.monotonic() + timeout
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s"
        time.sleep(0.1)
    return found
