"""Forked containers: like `python -m`, but for the imports that were made ahead."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.environments.preparation import prepare
from lab.environments.store import environments_dir
from tests.contract.apis import KubernetesAPI, Server, running_kubeapi
from tests.lab.answering import Answer, answering
from tests.lab.kubelets import Cluster, eventually
from tests.labs import at_night

PYTHON_VARIABLE = "HA_CHAOS_TEST_PYTHON"
FORK = ("--mode", "fork", "--preload", "heavy")
# What a container sees of how it was started.
JOB = """\
import atexit, os, random, sys, threading, time
import heavy
atexit.register(lambda: print("goodbye"))
threading.Thread(target=lambda: (time.sleep(0.2), print("thread done"))).start()
descriptors = [d for d in os.listdir("/proc/self/fd") if int(d) > 2]
print(__name__, sys.argv[1:], os.path.basename(sys.argv[0]), os.environ.get("OURS"))
print(os.getcwd(), sys.path[0], os.getsid(0) == os.getpid(), len(descriptors) == 1)
"""
WORKLOAD = (
    '{"token":"t","ti":{"id":"019a0000-0000-7000-8000-000000000001","task_id":"t","dag_id":"d",'
    '"run_id":"r","try_number":1,"map_index":-1,"pool_slots":1,"queue":"default",'
    '"priority_weight":1,"hostname":null,"dag_version_id":"019a0000-0000-7000-8000-000000000002",'
    '"context_carrier":{}},"dag_rel_path":"d.py","bundle_info":{"name":"dags-folder",'
    '"version":null},"log_path":"d/r/t/1.log","type":"ExecuteTask"}'
)
WORKER = ("python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", WORKLOAD)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Cluster:
    cluster = Cluster(KubernetesAPI(server), tmp_path)
    module(cluster, "heavy", "open('imported', 'a').write('x')")
    return cluster


def module(cluster: Cluster, name: str, code: str) -> None:
    (cluster.work / f"{name}.py").write_text(code)


def test_a_fork_sees_what_a_cold_start_sees(cluster: Cluster) -> None:
    module(cluster, "job", JOB)
    env = [{"name": "OURS", "value": "pod's"}]
    with cluster.kubelet(*FORK):
        cluster.create("p", "python", "-m", "job", "an", "argument", env=env)
        cluster.in_phase("p", "Succeeded")
    cold = subprocess.run(
        [sys.executable, "-m", "job", "an", "argument"],
        cwd=cluster.work,
        env={**os.environ, "OURS": "pod's"},
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert cluster.log("p") == cold.stdout
    assert cold.stdout.endswith("True True\nthread done\ngoodbye\n")


def test_what_is_preloaded_is_imported_once_for_all(cluster: Cluster) -> None:
    module(cluster, "job", "import heavy")
    with cluster.kubelet(*FORK):
        for name in ("a", "b", "c"):
            cluster.create(name, "python", "-m", "job")
            cluster.in_phase(name, "Succeeded")
    assert (cluster.work / "imported").read_text() == "x"


def test_forks_do_not_share_their_random_numbers(cluster: Cluster) -> None:
    module(cluster, "job", "import random, uuid; print(random.random(), uuid.uuid4())")
    module(cluster, "heavy", "import random; random.random()")
    with cluster.kubelet(*FORK):
        for name in ("a", "b"):
            cluster.create(name, "python", "-m", "job")
            cluster.in_phase(name, "Succeeded")
    assert not set(cluster.log("a").split()) & set(cluster.log("b").split())


@pytest.mark.parametrize(
    ("code", "status", "last"),
    [
        ("raise SystemExit(5)", 5, None),
        ("raise SystemExit('no')", 1, "no"),
        ("1/0", 1, "ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 15)", 143, None),
    ],
)
def test_a_fork_ends_as_the_interpreter_would(
    cluster: Cluster, code: str, status: int, last: str | None
) -> None:
    module(cluster, "job", code)
    with cluster.kubelet(*FORK):
        cluster.create("p", "python", "-m", "job")
        assert cluster.terminated("p").exit_code == status
    assert ([None, *cluster.log("p").splitlines()])[-1] == last
    assert "forkserver" not in cluster.log("p")


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["-c", "import sys; print('heavy' in sys.modules)"], []),
        (["-m", "job"], [{"name": "PYTHONHASHSEED", "value": "0"}]),
        (["-m", "job"], [{"name": "AIRFLOW__CORE__PARALLELISM", "value": "7"}]),
    ],
)
def test_what_a_fork_could_not_obey_starts_cold(
    cluster: Cluster, words: list[str], env: list[dict[str, str]]
) -> None:
    module(cluster, "job", "import sys; print('heavy' in sys.modules)")
    with cluster.kubelet(*FORK):
        cluster.create("p", "python", *words, env=env)
        cluster.in_phase("p", "Succeeded")
    assert cluster.log("p") == "False\n"


def test_a_variable_that_says_what_was_so_already_does_not_matter(cluster: Cluster) -> None:
    module(cluster, "job", "import sys; print('heavy' in sys.modules)")
    env = [
        {"name": "AIRFLOW__CORE__PARALLELISM", "value": "7"},
        {"name": "AIRFLOW_IS_K8S_EXECUTOR_POD", "value": "True"},
    ]
    with cluster.kubelet(*FORK, env={"AIRFLOW__CORE__PARALLELISM": "7"}):
        cluster.create("p", "python", "-m", "job", env=env)
        cluster.in_phase("p", "Succeeded")
    assert cluster.log("p") == "True\n"


def test_a_preload_that_starts_a_thread_is_refused(cluster: Cluster) -> None:
    module(cluster, "heavy", "import threading as t; t.Thread(target=t.Event().wait).start()")
    command = [sys.executable, "-m", "lab.kubelet", *FORK, "--logs", str(cluster.logs)]
    command += ["--kubeconfig", str(cluster.api.kubeconfig), "--work", str(cluster.work)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "preloading left 1 threads running" in done.stderr


def test_no_fork_outlives_a_killed_kubelet(cluster: Cluster) -> None:
    code = "import os, time; os.fork(); print('born', flush=True); time.sleep(600)"
    module(cluster, "job", code)
    with cluster.kubelet(*FORK) as kubelet:
        cluster.create("p", "python", "-m", "job")
        eventually(lambda: cluster.log("p") == "born\nborn\n")
        kubelet.kill()
        cluster.nothing_left()


def airflow_python(version: str) -> Path:
    """Return the interpreter of a cached environment; skip where there is none."""
    given = os.environ.get(PYTHON_VARIABLE)
    if given:
        return Path(given)
    if not any(environments_dir().glob(f"{version}-*")):
        pytest.skip(f"no cached environment of Airflow {version}, and {PYTHON_VARIABLE} is unset")
    return prepare(version).python


@pytest.mark.parametrize(
    ("version", "words"),
    [
        pytest.param("3.0.6", '"detail":{"detail":{"reason":"invalid_state"', marks=at_night),
        pytest.param(
            "3.1.8",
            "airflow.sdk.api.client.ServerResponseError: Server returned error",
            marks=at_night,
        ),
        pytest.param(
            "3.2.0",
            '"exc_type":"ServerResponseError","exc_value":"Server returned error"',
            marks=at_night,
        ),
        ("3.3.2", "Server error detail: {'reason': 'invalid_state'"),
    ],
)
def test_a_real_worker_is_forked_and_its_refused_start_is_in_its_log(
    cluster: Cluster, version: str, words: str
) -> None:
    python = airflow_python(version)
    refusal = {"reason": "invalid_state", "message": "no", "previous_state": "success"}
    with answering(lambda _: Answer(409, {"detail": refusal})) as (url, seen):
        env = {
            "AIRFLOW_HOME": str(cluster.work),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{cluster.work}/none.db",
        }
        with cluster.kubelet("--mode", "fork", "--python", str(python), env=env):
            cluster.create("p", *WORKER, terminationMessagePolicy="FallbackToLogsOnError")
            ended = cluster.terminated("p")
    assert ended.exit_code == 1
    assert words in cluster.log("p")
    assert [each.path for each in seen] == [
        "/execution/task-instances/019a0000-0000-7000-8000-000000000001/run"
    ]
