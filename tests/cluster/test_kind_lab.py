"""A lab on kind, whole: deployed, disturbed and healed, cleaned, and gone however its owner ends.

Needs beside the cluster a chart (HA_CHAOS_CHARTS, the first of them) and the images of an Airflow
(HA_CHAOS_TEST_AIRFLOW, a version whose image HA_CHAOS_TEST_AIRFLOW_IMAGE names) and a Postgres.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from common.paths import PROJECT
from common.spawn import is_same_process
from harness.options_kind import AIRFLOW_IMAGE, POSTGRES_IMAGE
from lab.base import Airflow
from lab.ending import reap
from lab.kind.lab import KindLab
from lab.kind.namespace import MANAGED_BY
from lab.kind.provision import Provision, deployment
from lab.kube.pods import processes
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.state import LabState

VERSION = os.environ.get("HA_CHAOS_TEST_AIRFLOW", "")
CHARTS = os.environ.get("HA_CHAOS_CHARTS", "")

pytestmark = [
    pytest.mark.skipif(not VERSION, reason="no Airflow for a lab given (HA_CHAOS_TEST_AIRFLOW)"),
    pytest.mark.skipif(not CHARTS, reason="no chart for a lab given (HA_CHAOS_CHARTS)"),
    pytest.mark.xdist_group("labs"),
]

_OWNED = """
import sys, time
from lab.life import start
from lab.pool import Owner
from lab.spec import read_spec
from pathlib import Path
me = Owner.me()
lab = start(read_spec(Path(sys.argv[1])), owner=(me.pid, me.born))
print(lab.directory, flush=True)
time.sleep(600)
"""


def spec(cluster: str) -> LabSpec:
    given = os.environ.get("HA_CHAOS_TEST_AIRFLOW_IMAGE", AIRFLOW_IMAGE)
    image = given.replace("{version}", VERSION)
    postgres = os.environ.get("HA_CHAOS_TEST_POSTGRES_IMAGE", POSTGRES_IMAGE)
    wanted = Provision(cluster, CHARTS.split(":")[0], given, postgres, layers=("slow-pods",))
    return LabSpec(
        Airflow(VERSION, VERSION, image=image),
        env={"HA_CHAOS_SHAPES": "single", "HA_CHAOS_SLEEP": "0"},
        deployment=deployment(wanted, VERSION, image, 2),
    )


def namespaces_of_labs(lab: KindLab) -> list[str]:
    selector = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
    found = lab.kubernetes().list_namespace(label_selector=selector)
    return [each.metadata.name for each in found.items]


@pytest.fixture(scope="module")
def lab(cluster_name: str) -> Iterator[KindLab]:
    me = Owner.me()
    found = start(spec(cluster_name), owner=(me.pid, me.born))
    assert isinstance(found, KindLab)
    yield found
    found.stop()


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.2)


def sessions(lab: KindLab, process: str) -> set[int]:
    """Return the server processes of a process' connections."""
    with psycopg.connect(lab.dsn()) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (process,)
        ).fetchall()
    return {row[0] for row in rows}


def ended(lab: KindLab, run_id: str) -> bool:
    return any(run == run_id and state == "success" for _, run, state in lab.api.runs())


def test_it_is_healthy_and_its_processes_are_its_pods(lab: KindLab) -> None:
    assert lab.problems() == []
    assert len(lab.schedulers) == 2
    assert lab.process("scheduler-2") == lab.schedulers[1]
    assert all(sessions(lab, each) for each in lab.schedulers)


def test_its_secrets_are_no_others_to_read(lab: KindLab) -> None:
    password = str(lab.endpoints["password"])
    assert password not in (lab.directory / "values.yaml").read_text()
    assert (lab.directory / "state.json").stat().st_mode & 0o077 == 0
    assert (lab.directory / "kubeconfig").stat().st_mode & 0o077 == 0


def test_a_frozen_scheduler_stands_still_and_goes_on(lab: KindLab) -> None:
    process = lab.schedulers[0]
    lab.pause(process)
    try:
        frozen = _beat(lab, process)
        time.sleep(8)
        assert _beat(lab, process) == frozen
    finally:
        lab.resume(process)
    until(lambda: _beat(lab, process) != frozen, 30, "it goes on")


def _beat(lab: KindLab, process: str) -> object:
    with psycopg.connect(lab.dsn()) as connection:
        row = connection.execute(
            "SELECT latest_heartbeat FROM job WHERE hostname = %s"
            " AND job_type = 'SchedulerJob' ORDER BY id DESC",
            (process,),
        ).fetchone()
    assert row is not None
    return row[0]


def test_a_killed_scheduler_comes_back_in_the_same_pod(lab: KindLab) -> None:
    process = lab.schedulers[1]
    before = sessions(lab, process)
    lab.kill(process)
    lab.start(process)
    until(lambda: bool(sessions(lab, process) - before), 90, "it connects anew")
    assert process in lab.schedulers


def test_a_restarted_database_keeps_its_data(lab: KindLab) -> None:
    lab.api.trigger("single", "before-the-restart")
    for how in ("fast", "immediate"):
        lab.restart_database(how)
        assert "single" in lab.api.dag_ids(), "Airflow reaches it, too"
        with psycopg.connect(lab.dsn()) as connection:
            assert connection.execute(
                "SELECT 1 FROM dag_run WHERE run_id = 'before-the-restart'"
            ).fetchone()


def test_cleaned_it_has_no_runs_and_no_worker_pods(lab: KindLab) -> None:
    until(lambda: not lab.problems(), 120, "it recovers from what was done to it")
    lab.api.trigger("single", "to-be-cleaned")
    lab.delay_pods(60)
    lab.clean()
    assert lab.api.runs() == []
    workers = "kubernetes_executor=True"
    assert lab.kubernetes().list_namespaced_pod(lab.namespace, label_selector=workers).items == []


def test_delayed_pods_start_later(lab: KindLab) -> None:
    lab.delay_pods(5)
    lab.api.trigger("single", "delayed")
    until(lambda: ended(lab, "delayed"), 120, "the run ends")
    pods = lab.kubernetes().list_namespaced_pod(
        lab.namespace, label_selector="kubernetes_executor=True"
    )
    waited = pods.items[-1].status.init_container_statuses[0].state.terminated
    assert (waited.finished_at - waited.started_at).total_seconds() >= 4
    lab.delay_pods(0)


def test_its_api_is_reached_and_the_logs_of_its_components_are_kept(lab: KindLab) -> None:
    assert requests.get(f"{lab.api.base_url}/api/v2/version", timeout=10).ok
    assert (lab.directory / "logs" / "helm.log").exists()
    assert set(lab.schedulers) <= set(lab.logs())


def owned_by_a_child(lab: KindLab) -> tuple[subprocess.Popen[str], Path, LabState]:
    """Have another process start a lab of the same kind; return it, its folder and its state."""
    child = subprocess.Popen(
        [sys.executable, "-c", _OWNED, str(lab.directory)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    directory = Path(child.stdout.readline().strip())
    state = LabState.load(directory)
    assert state is not None
    return child, directory, state


def test_nothing_is_left_when_its_owner_is_killed(lab: KindLab) -> None:
    child, _, state = owned_by_a_child(lab)
    child.kill()
    child.wait()
    until(lambda: not is_same_process(state.supervisor, state.created), 180, "it takes all down")
    assert str(state.endpoints["namespace"]) not in namespaces_of_labs(lab)


def test_nothing_is_left_when_its_supervisor_is_killed_too(lab: KindLab) -> None:
    child, directory, state = owned_by_a_child(lab)
    os.kill(state.supervisor, signal.SIGKILL)
    child.kill()
    child.wait()
    until(lambda: not is_same_process(state.supervisor, state.created), 10, "it is gone")
    assert reap() >= 1
    assert not directory.exists()
    assert str(state.endpoints["namespace"]) not in namespaces_of_labs(lab)
    assert processes(lab.kubernetes(), lab.namespace, "component=scheduler")
