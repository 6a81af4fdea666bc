"""Attaching to what looks like a release: found by its labels, reached, and left as it was.

The components are pods of one image that do nothing but bear the chart's labels; the database is a
real PostgreSQL in the cluster. HA_CHAOS_TEST_POSTGRES names its image; HA_CHAOS_TEST_IMAGE must
have python3 here.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from common.errors import UserError
from common.spawn import is_same_process
from harness.options_cluster import require_room
from lab.base import Airflow
from lab.cluster.boot import ClusterBoot
from lab.cluster.database import locate
from lab.cluster.discovery import discover
from lab.cluster.lab import REFUSAL, ClusterLab
from lab.cluster.plan import plan, reported_version
from lab.cluster.undo import undo_argv
from lab.kube.client import api_client
from lab.kube.kubeconfig import default_kubeconfig, single_context
from lab.kube.portforward import PortForward
from lab.life import start
from lab.spec import Attachment, LabSpec, write_request
from lab.state import LabState
from recorder import audit
from run.keeper import REMOVALS, keep
from tests.recorder.tables import installed

POSTGRES_VARIABLE = "HA_CHAOS_TEST_POSTGRES"
PASSWORD = "p@ss:w/rd"
_TABLES = Path(__file__).parents[1] / "recorder" / "tables.sql"
_URL = "postgresql+psycopg2://postgres:p%40ss%3Aw%2Frd@postgres:5432/postgres?sslmode=disable"
_API = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path == "/airflow/api/v2/version"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"version": "3.0.6"}).encode())
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def component(name: str, image: str, what: str, *command: str) -> dict[str, Any]:
    labels = {"tier": "airflow", "component": what, "release": "prod"}
    key = {"secretKeyRef": {"name": "own-secret", "key": "url"}}
    container = {
        "name": what,
        "image": image,
        "command": list(command),
        "env": [{"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "valueFrom": key}],
        "volumeMounts": [{"name": "config", "mountPath": "/cfg", "subPath": "airflow.cfg"}],
    }
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "prod-config"}}],
            "terminationGracePeriodSeconds": 0,
        },
    }


def database(image: str) -> dict[str, Any]:
    container = {
        "name": "postgres",
        "image": image,
        "env": [{"name": "POSTGRES_PASSWORD", "value": PASSWORD}],
        "readinessProbe": {
            "exec": {"command": ["pg_isready", "-h", "127.0.0.1"]},
            "periodSeconds": 1,
        },
    }
    return {
        "metadata": {"name": "postgres", "labels": {"app": "postgres"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


@pytest.fixture(scope="module")
def release(kubernetes_api: Any, namespace: str, image: str) -> str:
    """A namespace with the parts of a release; its database's Secret is called as nobody would."""
    if POSTGRES_VARIABLE not in os.environ:
        pytest.skip(f"no PostgreSQL image given ({POSTGRES_VARIABLE})")
    url = base64.b64encode(_URL.encode()).decode()
    config = (
        "[core]\nexecutor = KubernetesExecutor\n[api]\nbase_url = https://x.example/airflow\n"
        "[kubernetes_executor]\ndelete_worker_pods = False\n"
    )
    core = kubernetes_api
    core.create_namespaced_secret(
        namespace, {"metadata": {"name": "own-secret"}, "data": {"url": url}}
    )
    core.create_namespaced_config_map(
        namespace, {"metadata": {"name": "prod-config"}, "data": {"airflow.cfg": config}}
    )
    ports = [{"port": 5432, "targetPort": 5432}]
    core.create_namespaced_service(
        namespace,
        {
            "metadata": {"name": "postgres"},
            "spec": {"selector": {"app": "postgres"}, "ports": ports},
        },
    )
    sleep = ("sleep", "3600")
    core.create_namespaced_pod(namespace, database(os.environ[POSTGRES_VARIABLE]))
    core.create_namespaced_pod(namespace, component("prod-s-0", image, "scheduler", *sleep))
    core.create_namespaced_pod(namespace, component("prod-s-1", image, "scheduler", *sleep))
    api = component("prod-a", image, "api-server", "python3", "-c", _API)
    core.create_namespaced_pod(namespace, api)
    until_ready(core, namespace, {"postgres", "prod-s-0", "prod-s-1", "prod-a"})
    return namespace


def until_ready(core: Any, namespace: str, names: set[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pods = core.list_namespaced_pod(namespace).items
        ready = [p for p in pods if any(c.ready for c in p.status.container_statuses or ())]
        if names <= {pod.metadata.name for pod in ready}:
            return
        time.sleep(0.3)
    pytest.fail("the pods did not become ready")


@pytest.fixture
def attached(release: str, tmp_path: Path) -> Iterator[tuple[ClusterBoot, ClusterLab]]:
    """A lab attached by a boot of our own; its processes end with the test."""
    context = single_context(default_kubeconfig(), None)["current-context"]
    attachment = Attachment(default_kubeconfig(), context, release, "prod")
    spec = LabSpec(Airflow("3.0.6", "3.0.6"), attachment=attachment)
    write_request(tmp_path, spec, None)
    state = LabState()
    boot = ClusterBoot(tmp_path, spec, state)
    with migrated(client(), release):
        for _ in boot.steps():
            pass
        yield boot, ClusterLab(tmp_path)
        boot.stop()


@contextmanager
def migrated(client: Any, namespace: str) -> Iterator[psycopg.Connection]:
    """Have Airflow's tables in the database while a test lasts; lend a connection to it."""
    forward = PortForward(client, namespace, "app=postgres", 5432)
    parts: dict[str, Any] = {"host": "127.0.0.1", "port": forward.start(), "user": "postgres"}
    with psycopg.connect(**parts, password=PASSWORD, autocommit=True) as connection:
        connection.execute(_TABLES.read_text().encode())
        yield connection
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    forward.stop()


def client() -> Any:
    return api_client(single_context(default_kubeconfig(), None))


def test_a_release_is_found_by_its_labels_and_read_from_its_own_configuration(
    release: str,
) -> None:
    found = discover(client(), release)
    assert found.name == "prod"
    assert found.schedulers == ("prod-s-0", "prod-s-1")
    assert found.executor == "KubernetesExecutor"
    assert locate(client(), found).origin == "Secret own-secret, key url"
    assert found.api_path == "/airflow"
    assert (found.named, found.pool_mode) == ("", "")


def test_the_version_is_what_the_api_server_says(release: str) -> None:
    assert reported_version(client(), discover(client(), release)) == "3.0.6"


def test_the_plan_names_the_database_without_its_password(release: str) -> None:
    told = "\n".join(plan(client(), "c", discover(client(), release), allow_faults=False))
    assert "postgres at postgres:5432, as postgres" in told
    assert "disturbs: nothing" in told
    assert PASSWORD not in told


def test_whether_the_recorder_can_be_installed_is_asked_before_anything_is_done(
    release: str,
) -> None:
    context = single_context(default_kubeconfig(), None)["current-context"]
    attachment = Attachment(default_kubeconfig(), context, release, "prod")
    with migrated(client(), release) as connection:
        require_room(attachment)
        row = connection.execute("SELECT to_regnamespace('oracle') IS NULL").fetchone()
        assert row == (True,), "nothing is left"
        connection.execute("ALTER TABLE task_instance RENAME map_index TO elsewhere")
        with pytest.raises(UserError, match=r"at postgres:5432: .*task_instance\.map_index"):
            require_room(attachment)


def test_a_namespace_without_release_is_told(kubernetes_api: Any) -> None:
    assert kubernetes_api
    with pytest.raises(UserError, match="no running pods of the official Airflow chart"):
        discover(client(), "default")


def test_nothing_is_disturbed_without_leave(attached: tuple[ClusterBoot, ClusterLab]) -> None:
    _, lab = attached
    assert lab.missing("pause") == REFUSAL
    assert lab.missing("node")
    with pytest.raises(UserError, match="left alone"):
        lab.pause("prod-s-0")


def test_the_database_is_reached_and_the_audit_removed_at_the_end(
    attached: tuple[ClusterBoot, ClusterLab],
) -> None:
    boot, lab = attached
    lab.undo_in_database(REMOVALS)
    audit.install(lab.dsn())
    assert installed(lab.dsn())
    lab.undo.run()
    assert not installed(lab.dsn())
    assert boot.state.phase == "ready"


def test_it_is_removed_even_if_the_lab_and_its_port_forward_are_gone(
    attached: tuple[ClusterBoot, ClusterLab],
) -> None:
    boot, lab = attached
    dsn = lab.dsn()
    lab.undo_in_database(REMOVALS)
    audit.install(dsn)
    state = json.loads((lab.directory / "state.json").read_text())
    state["endpoints"]["postgres"] = 1
    (lab.directory / "state.json").write_text(json.dumps(state))
    assert subprocess.run(undo_argv(lab.directory, "clear"), cwd="/").returncode == 0
    assert not installed(dsn)
    assert PASSWORD not in json.dumps(undo_argv(lab.directory, "clear"))
    assert boot.state.phase == "ready"


def test_a_keeper_takes_it_out_and_off_the_undo_list(
    attached: tuple[ClusterBoot, ClusterLab],
) -> None:
    _, lab = attached
    keeper = keep(lab)
    assert keeper is not None
    audit.install(lab.dsn())
    assert keeper.remove() is None
    assert not installed(lab.dsn())
    keeper.close()
    assert lab.undo.run() == 0


def test_what_could_not_be_removed_is_removed_when_the_lab_ends(
    attached: tuple[ClusterBoot, ClusterLab],
) -> None:
    boot, lab = attached
    lab.undo_in_database(REMOVALS)
    audit.install(lab.dsn())
    lab.undo.done(undo_argv(lab.directory, "clear"))
    boot.stop()
    forward = PortForward(client(), lab.namespace, "app=postgres", 5432)
    parts: dict[str, Any] = {"host": "127.0.0.1", "port": forward.start(), "user": "postgres"}
    assert not installed(make_conninfo(password=PASSWORD, **parts))
    forward.stop()


def test_who_cannot_be_told_apart_is_told(attached: tuple[ClusterBoot, ClusterLab]) -> None:
    _, lab = attached
    assert "0 of 2 schedulers are known" in lab.unidentified


def test_what_a_killed_session_put_there_goes_with_it(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    context = single_context(default_kubeconfig(), None)["current-context"]
    attachment = Attachment(default_kubeconfig(), context, release, "prod")
    owner = subprocess.Popen(["sleep", "600"])
    born = psutil.Process(owner.pid).create_time()
    with migrated(client(), release):
        spec = LabSpec(Airflow("3.0.6", "3.0.6"), attachment=attachment)
        lab = start(spec, owner=(owner.pid, born))
        assert isinstance(lab, ClusterLab)
        state = lab.state
        lab.undo_in_database(REMOVALS)
        audit.install(lab.dsn())
        owner.kill()
        owner.wait()
        deadline = time.monotonic() + 90
        while is_same_process(state.supervisor, state.created) and time.monotonic() < deadline:
            time.sleep(0.2)
        with pytest.raises(audit.AuditError):
            installed(lab.dsn())
        forward = PortForward(client(), release, "app=postgres", 5432)
        parts: dict[str, Any] = {"host": "127.0.0.1", "port": forward.start(), "user": "postgres"}
        assert not installed(make_conninfo(password=PASSWORD, **parts))
        forward.stop()
