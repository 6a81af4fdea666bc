"""The statuses of a pod with one container, as a kubelet writes them.

Each function returns a whole `status` for a JSON merge patch. Phases and container states move
one way only: Pending (waiting), Running (running), then Succeeded or Failed (terminated).
"""

import time
from pathlib import Path
from typing import Any

from lab.kubelet.pods import Pod

Json = dict[str, Any]

# kubelet, pkg/kubelet/kuberuntime: the tail of the log that stands in for a termination message
_MESSAGE_BYTES = 2048
_MESSAGE_LINES = 80
LOST = 137


def now() -> str:
    """Return the time as the API writes it, in whole seconds of UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def waiting(pod: Pod, started: str, reason: str = "ContainerCreating", message: str = "") -> Json:
    """Return the status of a pod that was accepted and whose container does not run yet."""
    state = {"reason": reason, "message": message} if message else {"reason": reason}
    return _status(pod, "Pending", started, {"waiting": state})


def running(pod: Pod, started: str, since: str) -> Json:
    """Return the status of a pod whose container runs since `since`."""
    return _status(pod, "Running", started, {"running": {"startedAt": since}})


def ended(pod: Pod, started: str, since: str, code: int, log: Path) -> Json:
    """Return the status of a pod whose container exited; its log's tail may be the message."""
    terminated = {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "startedAt": since,
        "finishedAt": now(),
    }
    if code and pod.container.termination_message_policy == "FallbackToLogsOnError":
        terminated["message"] = tail(log)
    phase = "Failed" if code else "Succeeded"
    return _status(pod, phase, started, {"terminated": terminated})


def unstartable(pod: Pod, started: str, message: str) -> Json:
    """Return the status of a pod whose command could not be executed (exit code 128)."""
    at = now()
    terminated = {"exitCode": 128, "reason": "StartError", "message": message}
    terminated |= {"startedAt": at, "finishedAt": at}
    return _status(pod, "Failed", started, {"terminated": terminated})


def lost(pod: Pod, started: str) -> Json:
    """Return the status of a pod that ends while no container of it can be found.

    kubelet's TerminatePod (pkg/kubelet/status) says the same of a pod that is deleted before its
    container started, and of one whose container is gone when a kubelet comes back.
    """
    terminated = {
        "exitCode": LOST,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    }
    return _status(pod, "Failed", started, {"terminated": terminated})


def tail(log: Path) -> str:
    """Return the last 2048 bytes of a log, 80 lines at most; nothing where there is no log."""
    try:
        with log.open("rb") as source:
            size = source.seek(0, 2)
            source.seek(max(size - _MESSAGE_BYTES, 0))
            text = source.read().decode(errors="ignore")
    except FileNotFoundError:
        return ""
    return "".join(text.splitlines(keepends=True)[-_MESSAGE_LINES:])


def _status(pod: Pod, phase: str, started: str, state: Json) -> Json:
    ready = phase == "Running"
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    container = {
        "name": pod.container.name,
        "image": pod.container.image,
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }
    if "waiting" not in state:
        container["containerID"] = f"lab://{pod.key}"
    at = now()
    conditions = [
        _condition("PodScheduled", True, at),
        _condition("Initialized", True, at),
        _condition("ContainersReady", ready, at, reason),
        _condition("Ready", ready, at, reason),
    ]
    return {
        "phase": phase,
        "startTime": started,
        "conditions": conditions,
        "containerStatuses": [container],
    }


def _condition(name: str, met: bool, at: str, reason: str = "") -> Json:
    condition = {"type": name, "status": str(met), "lastTransitionTime": at}
    if not met:
        condition["reason"] = reason
    return condition
