"""Commands and signals inside a container, through the API server.

Inside a PID namespace the kernel drops SIGKILL and SIGSTOP for PID 1, whoever of that namespace
sends them. So what runs as PID 1 decides: behind an init (Airflow's image has dumb-init) the main
process takes every signal; a main process that is PID 1 itself can only be frozen or killed from
outside, through its node.
"""

import json
import select
import signal
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from common.errors import UserError
from common.files import last_line
from common.waiting import Deadline
from lab.kube.channels import ChannelRefused, Channels, open_channels
from lab.kube.client import access_of
from lab.kube.failures import explained

_STDOUT, _STDERR, _STATUS = 1, 2, 3
# What only starts and reaps others when it is PID 1; a shell that waits for its child does too.
_INITS = frozenset(
    ["dumb-init", "tini", "docker-init", "catatonit", "pause", "sh", "bash", "dash", "ash"]
)
# The shell's own kill: -1 is every process of the namespace but PID 1 and, on Linux, the sender.
_SIGNAL = """
read -r init < /proc/1/comm
case " $2 " in *" $init "*) kill -"$1" -1;; *) echo "$init";; esac
"""


def run(
    client: Any,
    namespace: str,
    pod: str,
    container: str | None,
    argv: Sequence[str],
    timeout: float = 30.0,
) -> str:
    """Run a command in a container and return what it wrote to stdout.

    `container` None is the pod's only or default one. Raises UserError when it cannot be run, does
    not end within `timeout` seconds (it may then be running still), or does not exit 0: with its
    exit code and its last line.
    """
    what = f"{argv[0]} in {pod}"
    deadline = Deadline(timeout)
    try:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        query = _query(container, argv)
        with closing(open_channels(access_of(client), path, query, min(timeout, 10.0))) as channels:
            out = _gather(channels, deadline)
    except TimeoutError as error:
        raise UserError(f"{what} did not end within {timeout:.0f} s.") from error
    except ChannelRefused as error:
        raise explained(error, f"{what} cannot be run") from error
    except OSError as error:
        raise explained(error, f"{what}: the cluster does not answer") from error
    if failure := _failure(out[_STATUS]):
        output = (out[_STDERR].strip() or out[_STDOUT]).decode(errors="replace")
        last = last_line(output, "it wrote nothing")[:300]
        raise UserError(f"{what} failed ({failure}): {last}")
    return out[_STDOUT].decode(errors="replace")


def can_signal(client: Any, namespace: str, pod: str, container: str | None = None) -> bool:
    """Return whether a container's main process is not PID 1, and so takes every signal."""
    name = run(client, namespace, pod, container, ["cat", "/proc/1/comm"]).strip()
    return name in _INITS


def signal_all(client: Any, namespace: str, pod: str, container: str | None, number: int) -> None:
    """Send a signal to every process of a container at once, except to its init.

    The kernel does it in one step, so no process escapes by forking. Raises UserError when the main
    process is PID 1, or nothing took the signal. Where a pod shares its PID namespace, all of its
    containers are meant.
    """
    argv = ["sh", "-c", _SIGNAL, "sh", str(int(number)), " ".join(sorted(_INITS))]
    if main := run(client, namespace, pod, container, argv).strip():
        raise UserError(
            f"{signal.Signals(number).name} does not reach {pod}: {main} is PID 1 there.",
            "Use an image whose entrypoint has an init (dumb-init, tini), or a cluster on kind,"
            " where the node does it.",
        )


def _query(container: str | None, argv: Sequence[str]) -> list[tuple[str, str]]:
    query = [("stdout", "true"), ("stderr", "true"), *(("command", each) for each in argv)]
    return [*query, ("container", container)] if container else query


def _gather(channels: Channels, deadline: Deadline) -> dict[int, bytearray]:
    """Gather what comes until the server closes the stream."""
    gathered = {channel: bytearray() for channel in (_STDOUT, _STDERR, _STATUS)}
    poll = select.poll()
    while not channels.ended:
        if deadline.passed:
            raise TimeoutError
        poll.register(channels, select.POLLIN | (select.POLLOUT if channels.unsent else 0))
        if not channels.has_more():
            poll.poll(deadline.left * 1000)
        for channel, data in channels.read():
            if channel in gathered:
                gathered[channel] += data
        channels.flush()
    return gathered


def _failure(status: bytes | bytearray) -> str:
    """Return why a command failed, from the Status at its end; empty when it did not."""
    if not status:
        return "the stream broke off"
    result = json.loads(status)
    if result.get("status") == "Success":
        return ""
    causes = result.get("details", {}).get("causes", ())
    codes = [cause["message"] for cause in causes if cause.get("reason") == "ExitCode"]
    return f"exit code {codes[0]}" if codes else str(result.get("message", status))[:300]
