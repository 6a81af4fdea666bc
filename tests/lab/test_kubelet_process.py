"""Containers as processes: what they get, how they are ended, and that none outlives the lab."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client

from lab.kubelet.kubelet import write_start_delay
from tests.contract.apis import KubernetesAPI, Server, running_kubeapi
from tests.lab.kubelets import Cluster, eventually

SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
STUBBORN += "time.sleep(600)"
# Has three descendants: one in its group, one in a session of its own, and an orphan.
PARENT = f"import subprocess as s, sys; c = [sys.executable, '-c', '{SLEEP}']; s.Popen(c); "
PARENT += "s.Popen(c, start_new_session=True); s.call(['setsid', '-f', 'sleep', '600']); "
PARENT += "print('born', flush=True); "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Cluster:
    return Cluster(KubernetesAPI(server), tmp_path)


@pytest.fixture(scope="module")
def served(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a kubelet for the tests that need no kubelet of their own."""
    cluster = Cluster(KubernetesAPI(server), tmp_path_factory.mktemp("served"))
    with cluster.kubelet(env={"THEIRS": "kubelet's", "OURS": "kubelet's"}):
        yield cluster


def field(name: str, path: str) -> dict[str, object]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_process_own(served: Cluster, code: int) -> None:
    served.python(f"exits-{code}", f"raise SystemExit({code})")
    assert served.terminated(f"exits-{code}").exit_code == code


def test_a_process_killed_by_a_signal_exits_with_128_and_its_number(served: Cluster) -> None:
    served.python("killed", "import os; os.kill(os.getpid(), 11)")
    assert served.terminated("killed").exit_code == 128 + signal.SIGSEGV


def test_a_container_gets_the_kubelets_environment_and_its_pods_own(served: Cluster) -> None:
    code = "import os; print(*(os.environ.get(n) for n in ('THEIRS', 'OURS', 'NAME', 'UID')))"
    env = [
        {"name": "OURS", "value": "pod's"},
        field("NAME", "metadata.name"),
        field("UID", "metadata.uid"),
    ]
    uid = served.python("env", code, env=env).metadata.uid
    served.in_phase("env", "Succeeded")
    assert served.log("env") == f"kubelet's pod's env {uid}\n"


def test_references_in_words_are_replaced_as_kubernetes_does(served: Cluster) -> None:
    env = [{"name": "A", "value": "one"}, {"name": "B", "value": "$(A)-two"}]
    code = "import sys; print(sys.argv[1:])"
    served.python("words", code, "$(B)", "$$(B)", "$(UNKNOWN)", "$B", env=env)
    served.in_phase("words", "Succeeded")
    assert served.log("words") == "['one-two', '$(B)', '$(UNKNOWN)', '$B']\n"


def test_a_container_runs_in_the_work_directory_and_logs_both_streams(served: Cluster) -> None:
    code = "import os, sys; print(os.getcwd(), flush=True); print('oops', file=sys.stderr)"
    served.python("streams", code)
    served.in_phase("streams", "Succeeded")
    assert served.log("streams") == f"{served.work}\noops\n"


def test_python_stands_for_the_interpreter_that_was_named(cluster: Cluster) -> None:
    other = cluster.work / "python"
    other.write_text(f'#!/bin/sh\necho named\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    with cluster.kubelet("--python", str(other)):
        cluster.python("p", "pass")
        cluster.in_phase("p", "Succeeded")
    assert cluster.log("p") == "named\n"


def test_the_last_80_lines_of_2048_bytes_are_the_message(served: Cluster) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    served.python("lines", "print(*range(200), sep='\\n'); 1/0", **policy)
    served.python("bytes", "print('x' * 5000); 1/0", **policy)
    lines = served.terminated("lines").message
    message = served.terminated("bytes").message
    assert len(lines.splitlines()) == 80
    assert lines.endswith("ZeroDivisionError: division by zero\n")
    assert len(message) == 2048
    assert served.log("bytes").endswith(message)


def test_a_command_that_is_not_there_is_a_start_error(served: Cluster) -> None:
    served.create("absent", "no-such-command")
    ended = served.terminated("absent")
    assert (ended.exit_code, ended.reason) == (128, "StartError")
    assert "no-such-command" in ended.message


@pytest.mark.parametrize(
    ("name", "container", "said"),
    [
        ("no-words", {"args": []}, "no command"),
        ("env-from", {"envFrom": [{"configMapRef": {"name": "c"}}]}, "envFrom"),
        (
            "secret",
            {"env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            "variable S",
        ),
    ],
)
def test_what_is_not_supported_waits_as_a_config_error_that_names_it(
    served: Cluster, name: str, container: dict[str, object], said: str
) -> None:
    served.python(name, "pass", **container)
    assert said in served.waiting_for(name, "CreateContainerConfigError").message
    served.api.delete(name)
    served.gone(name)


def test_no_more_pods_than_the_capacity_run_at_once(cluster: Cluster) -> None:
    release = "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(.02)"
    names = ["a", "b", "c", "d"]
    with cluster.kubelet("--capacity", "2"):
        for name in names:
            cluster.python(name, release)
        cluster.in_phase("a", "Running")
        cluster.in_phase("b", "Running")
        assert [cluster.api.read(name).spec.node_name for name in names[2:]] == [None, None]
        (cluster.work / "go").touch()
        for name in names:
            cluster.in_phase(name, "Succeeded")


def test_a_slow_start_leaves_the_pod_creating_and_deleting_it_then_fails_it(
    cluster: Cluster,
) -> None:
    with cluster.kubelet("--start-delay", "600"):
        cluster.python("p", "print('ran')")
        cluster.waiting_for("p", "ContainerCreating")
        version = cluster.api.revision()
        cluster.api.delete("p")
        cluster.gone("p")
        final = cluster.api.events(4, resource_version=version)[-1]["object"]
    assert final.status.phase == "Failed"
    assert final.status.container_statuses[0].state.terminated.reason == "ContainerStatusUnknown"
    assert cluster.log("p") == ""


def test_the_start_delay_changes_with_the_file_while_it_runs(cluster: Cluster) -> None:
    with cluster.kubelet("--start-delay", "600"):
        cluster.python("slow", "print('ran')")
        cluster.waiting_for("slow", "ContainerCreating")
        write_start_delay(cluster.work, 0.0)
        cluster.python("quick", "print('ran')")
        cluster.in_phase("quick", "Succeeded")
        assert cluster.api.read("slow").status.phase == "Pending"
        write_start_delay(cluster.work, 600.0)
        cluster.python("again", "print('ran')")
        cluster.waiting_for("again", "ContainerCreating")


def test_who_ignores_sigterm_is_killed_after_the_grace_period(cluster: Cluster) -> None:
    with cluster.kubelet():
        cluster.python("p", STUBBORN)
        eventually(lambda: cluster.log("p") == "1\n")
        version = cluster.api.revision()
        cluster.api.delete("p", body=client.V1DeleteOptions(grace_period_seconds=1))
        cluster.gone("p")
        final = cluster.api.events(4, resource_version=version)[-1]["object"]
    assert final.status.container_statuses[0].state.terminated.exit_code == 137


def test_what_a_container_leaves_behind_dies_with_it(cluster: Cluster) -> None:
    with cluster.kubelet():
        cluster.python("ends", PARENT)
        cluster.in_phase("ends", "Succeeded")
        eventually(lambda: not containers(cluster))


def test_what_a_container_starts_lives_as_long_as_it(cluster: Cluster) -> None:
    with cluster.kubelet():
        cluster.python("lives", PARENT + SLEEP)
        eventually(lambda: cluster.log("lives") == "born\n")
        for name in ("x", "y"):
            cluster.python(name, "pass")
            cluster.in_phase(name, "Succeeded")
        assert len(containers(cluster)) == 4
        cluster.api.delete("lives")
        cluster.gone("lives")
        eventually(lambda: not containers(cluster))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_kubelet(cluster: Cluster, number: int) -> None:
    with cluster.kubelet() as kubelet:
        cluster.python("p", PARENT + SLEEP)
        eventually(lambda: cluster.log("p") == "born\n")
        kubelet.send_signal(number)
        assert kubelet.wait(40) == (-9 if number == signal.SIGKILL else 0)
        cluster.nothing_left()


def test_a_killed_fork_server_takes_containers_and_kubelet_along(cluster: Cluster) -> None:
    with cluster.kubelet() as kubelet:
        cluster.python("p", PARENT + SLEEP)
        eventually(lambda: cluster.log("p") == "born\n")
        server = next(p for p in cluster.processes() if p.ppid() == kubelet.pid)
        server.kill()
        assert kubelet.wait(40) == 2
        cluster.nothing_left()


def test_a_new_kubelet_declares_lost_what_died_with_the_one_before(cluster: Cluster) -> None:
    with cluster.kubelet() as first:
        cluster.python("p", SLEEP)
        cluster.in_phase("p", "Running")
        first.kill()
        first.wait()
    with cluster.kubelet():
        ended = cluster.terminated("p")
    assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")


def test_an_ended_pod_is_never_run_again(cluster: Cluster) -> None:
    code = "open('runs', 'a').write('x')"
    with cluster.kubelet():
        cluster.python("p", code)
        cluster.in_phase("p", "Succeeded")
        cluster.api.label("p", seen="1")
    with cluster.kubelet():
        cluster.python("q", "pass")
        cluster.in_phase("q", "Succeeded")
    assert (cluster.work / "runs").read_text() == "x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--logs", "nowhere"], "nowhere is not a directory"),
        (["--logs", ".", "--kubeconfig", "nowhere"], "nowhere cannot be used as a kubeconfig"),
        (["--logs", ".", "--python", "/nowhere"], "/nowhere cannot be executed"),
        (["--logs", ".", "--capacity", "0"], "at least 1"),
        (["--logs", ".", "--mode", "simulated"], "Give --execution-api"),
        (["--logs", ".", "--mode", "fork", "--preload", "nowhere"], "has no module nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(
    cluster: Cluster, tmp_path: Path, options: list[str], said: str
) -> None:
    command = [sys.executable, "-m", "lab.kubelet", "--kubeconfig", str(cluster.api.kubeconfig)]
    root = Path(__file__).parents[2]
    where = [str(tmp_path) if option == "." else option for option in options]
    done = subprocess.run([*command, *where], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def containers(cluster: Cluster) -> list[int]:
    """Return the processes that are neither kubelet nor fork server."""
    apart = set()
    for process in cluster.processes():
        if any("forkserver" in word for word in process.cmdline()):
            apart |= {process.pid, process.ppid()}
    return [process.pid for process in cluster.processes() if process.pid not in apart]
