"""Pod logs: the files that the kubelet writes, one a pod."""

from collections import deque
from pathlib import Path

from lab.kubeapi import status
from lab.kubeapi.store import Record
from lab.kubeapi.validation import is_name


def log_of(directory: Path, record: Record, container: str, tail_lines: int | None) -> bytes:
    """Return what a pod wrote so far, or its last lines; nothing before it has started.

    Raises ApiError 400 for a container that the pod does not have.
    """
    spec = record.object()["spec"]
    containers = [each["name"] for each in spec["containers"]]
    if container and container not in containers:
        message = f"container {container} is not valid for pod {record.name}"
        raise status.bad_request(message)
    path = directory / f"{record.name}.log"
    if not is_name(record.name) or not path.is_file():
        return b""
    if tail_lines is None:
        return path.read_bytes()
    with path.open("rb") as lines:
        return b"".join(deque(lines, maxlen=tail_lines))
