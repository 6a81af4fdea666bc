"""Commands and signals reach a container, and what comes of them is told."""

import signal
from typing import Any

import pytest

from common.errors import UserError
from lab.kube import execs
from tests.cluster.kube_pods import create, eventually, is_running, pod

TICKING = "while true; do date +%s%N > /tmp/tick; sleep 0.1; done"


@pytest.fixture(scope="module")
def bare(kubernetes_api: Any, namespace: str, image: str) -> str:
    """A pod whose main process is PID 1."""
    return _started(kubernetes_api, namespace, pod("bare", image, "sleep", "3600"))


@pytest.fixture(scope="module")
def ticking(kubernetes_api: Any, namespace: str, image: str) -> str:
    """A pod whose PID 1 waits for its child, which writes the time again and again."""
    command = ["bash", "-c", f"bash -c '{TICKING}'; exit $?"]
    return _started(kubernetes_api, namespace, pod("ticking", image, *command))


def _started(core: Any, namespace: str, body: dict[str, Any]) -> str:
    name = create(core, namespace, body)
    eventually(lambda: is_running(core, namespace, name))
    return name


def _run(core: Any, namespace: str, name: str, *argv: str, **options: Any) -> str:
    return execs.run(core.api_client, namespace, name, None, argv, **options)


def test_a_command_returns_what_it_wrote(kubernetes_api: Any, namespace: str, bare: str) -> None:
    script = "echo out; echo err >&2"
    assert _run(kubernetes_api, namespace, bare, "sh", "-c", script) == "out\n"


def test_a_megabyte_of_output_is_read_to_its_end(
    kubernetes_api: Any, namespace: str, bare: str
) -> None:
    written = _run(kubernetes_api, namespace, bare, "sh", "-c", "head -c 1000000 /dev/zero")
    assert len(written) == 1_000_000


def test_a_failure_tells_exit_code_and_last_line(
    kubernetes_api: Any, namespace: str, bare: str
) -> None:
    with pytest.raises(UserError, match=r"exit code 7\): no such luck"):
        _run(kubernetes_api, namespace, bare, "sh", "-c", "echo no such luck >&2; exit 7")


def test_a_command_that_does_not_end_is_told_in_time(
    kubernetes_api: Any, namespace: str, bare: str
) -> None:
    with pytest.raises(UserError, match="did not end within 1 s"):
        _run(kubernetes_api, namespace, bare, "sleep", "5", timeout=1)


def test_a_pod_that_is_not_there_is_told(kubernetes_api: Any, namespace: str) -> None:
    with pytest.raises(UserError, match=r'"nobody" not found'):
        _run(kubernetes_api, namespace, "nobody", "true")


def test_a_stopped_process_stands_still_until_it_is_continued(
    kubernetes_api: Any, namespace: str, ticking: str
) -> None:
    def tick() -> str:
        return _run(kubernetes_api, namespace, ticking, "cat", "/tmp/tick")

    client = kubernetes_api.api_client
    eventually(lambda: tick() != tick())
    execs.signal_all(client, namespace, ticking, None, signal.SIGSTOP)
    assert len({tick() for _ in range(4)}) == 1
    execs.signal_all(client, namespace, ticking, None, signal.SIGCONT)
    eventually(lambda: tick() != tick())


def test_a_kill_ends_the_container(kubernetes_api: Any, namespace: str, image: str) -> None:
    script = "bash -c 'while true; do sleep 1; done'; exit $?"
    name = _started(kubernetes_api, namespace, pod("killed", image, "bash", "-c", script))
    execs.signal_all(kubernetes_api.api_client, namespace, name, None, signal.SIGKILL)

    def restarts() -> int:
        status = kubernetes_api.read_namespaced_pod(name, namespace).status
        return int(status.container_statuses[0].restart_count)

    assert eventually(restarts) == 1


def test_a_main_process_that_is_pid_1_is_refused_with_what_to_do(
    kubernetes_api: Any, namespace: str, bare: str
) -> None:
    client = kubernetes_api.api_client
    assert not execs.can_signal(client, namespace, bare)
    with pytest.raises(UserError, match="PID 1") as caught:
        execs.signal_all(client, namespace, bare, None, signal.SIGSTOP)
    assert "dumb-init" in caught.value.hint
