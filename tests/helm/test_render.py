"""Every combination of layers, Airflow line and chart renders, and means what the layers promise.

Charts are named by HA_CHAOS_CHARTS (paths, separated by colons), for they cannot be had everywhere;
helm is that of PATH. The manifests are Helm's own: nothing stands in for a chart.
"""

import os
import re
import shutil
from functools import cache
from typing import Any

import pytest
import yaml

from common.errors import UserError
from lab.kind.helm.chart import Chart, resolve
from lab.kind.helm.install import render
from lab.kind.helm.rendered import require
from lab.kind.helm.values import dag_files, lab_values, merged

CHARTS = [path for path in os.environ.get("HA_CHAOS_CHARTS", "").split(":") if path]
LINES = ("3.0.6", "3.1.8", "3.2.0", "3.3.2", "3.4.0b2")
LAYERS = ("default", "pgbouncer", "slow-pods", "liveness-defaults", "timings", "triggerer")
NAMESPACE = "ha-chaos-test"
AIRFLOW = ("base", "dag-processor", "triggerer")
SHAPES = {"HA_CHAOS_SHAPES": "fan-out", "HA_CHAOS_SLEEP": "1"}

Manifest = dict[str, Any]

if not CHARTS:
    pytest.skip("HA_CHAOS_CHARTS names no chart: no values were rendered", allow_module_level=True)
if not shutil.which("helm"):
    pytest.skip("there is no helm on PATH: no values were rendered", allow_module_level=True)


@pytest.fixture(params=CHARTS, ids=lambda path: path.rsplit("/", 1)[-1])
def chart(request: pytest.FixtureRequest) -> Chart:
    """Return each chart that there is."""
    return resolve(request.param, None, "helm", "3.0.6")


@pytest.fixture(params=LINES)
def version(request: pytest.FixtureRequest) -> str:
    """Return a version of each line of Airflow."""
    return str(request.param)


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> str:
    """Return each layer that may be added, and `default` for none."""
    return str(request.param)


@pytest.fixture(params=[2, 3])
def schedulers(request: pytest.FixtureRequest) -> int:
    """Return how many schedulers."""
    return int(request.param)


@cache
def rendered(chart: Chart, version: str, layer: str, schedulers: int) -> list[Manifest]:
    """Return the manifests of one combination."""
    return both(chart, version, *([] if layer == "default" else [layer]), schedulers=schedulers)


def both(chart: Chart, version: str, *layers: str, schedulers: int = 2) -> list[Manifest]:
    """Return the manifests of several layers at once."""
    lab = lab_values(
        version,
        schedulers=schedulers,
        image=f"apache/airflow:{version}",
        layers=layers,
        env=SHAPES,
        dag_files=dag_files(),
    )
    values = merged(lab)
    manifests = render("helm", chart, values, NAMESPACE)
    require(manifests, lab, values)
    return manifests


@pytest.fixture
def manifests(chart: Chart, version: str, layer: str, schedulers: int) -> list[Manifest]:
    """Return the manifests of each combination."""
    return rendered(chart, version, layer, schedulers)


@pytest.fixture
def plain(chart: Chart, version: str) -> list[Manifest]:
    """Return the manifests of the default layers."""
    return rendered(chart, version, "default", 2)


def only(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one manifest of this kind whose name ends so."""
    found = [
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"].endswith(name)
    ]
    assert len(found) == 1, [each["metadata"]["name"] for each in manifests]
    return found[0]


def workload(manifests: list[Manifest], name: str) -> Manifest:
    """Return the pod spec of one component."""
    spec: Manifest = only(manifests, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def config(manifests: list[Manifest]) -> dict[str, str]:
    """Return what is in the ConfigMap of Airflow's configuration."""
    data: dict[str, str] = only(manifests, "ConfigMap", "airflow-config")["data"]
    return data


def worker(manifests: list[Manifest]) -> Manifest:
    """Return the pod spec that workers are made of."""
    spec: Manifest = yaml.safe_load(config(manifests)["pod_template_file.yaml"])["spec"]
    return spec


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod specs of all that runs Airflow, by what they are."""
    found = {"worker": worker(manifests)}
    for each in manifests:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            found[each["metadata"]["name"]] = each["spec"]["template"]["spec"]
    return {name: pod for name, pod in found.items() if "pgbouncer" not in name}


def containers(pod: Manifest) -> list[Manifest]:
    """Return the containers of a pod, init containers too."""
    return [*(pod.get("initContainers") or []), *pod["containers"]]


def variables(container: Manifest) -> Manifest:
    """Return a container's environment by name."""
    return {each["name"]: each for each in container.get("env") or []}


def test_as_many_schedulers_as_asked_for_and_nothing_unasked(
    manifests: list[Manifest], schedulers: int, layer: str
) -> None:
    assert only(manifests, "Deployment", "-scheduler")["spec"]["replicas"] == schedulers

    expected = {"airflow-scheduler", "airflow-api-server", "airflow-dag-processor"}
    if layer == "pgbouncer":
        expected.add("airflow-pgbouncer")
    running = {
        each["metadata"]["name"]
        for each in manifests
        if each["kind"] in ("Deployment", "StatefulSet")
    }
    assert running - {"airflow-triggerer"} == expected
    assert ("airflow-triggerer" in running) == (layer == "triggerer")
    assert [each["metadata"]["name"] for each in manifests if each["kind"] == "Job"] == [
        "airflow-run-airflow-migrations"
    ]


def test_a_pre_release_gets_what_its_final_version_gets(chart: Chart) -> None:
    beta, final = (
        yaml.safe_dump_all(rendered(chart, version, "triggerer", 2)).replace(version, "VERSION")
        for version in ("3.4.0b2", "3.4.0")
    )
    assert _plain(beta) == _plain(final)


def _plain(text: str) -> str:
    """Return manifests without what is random or a digest of the image's name."""
    return re.sub(r"VERSION|3\.4\.0|[0-9a-f]{64}|[A-Za-z0-9+/]{40,}=*", "", text)


def test_what_the_chart_does_not_take_for_airflow_3_is_refused(chart: Chart) -> None:
    lab = lab_values("3.4.0b2", schedulers=2, image="apache/airflow:3.4.0b2", layers=["triggerer"])
    values = merged(lab)
    require(render("helm", chart, values, NAMESPACE), lab, values)

    values["airflowVersion"] = "3.4.0-rc1"
    with pytest.raises(UserError, match="renders no api-server and no dag-processor for Airflow"):
        require(render("helm", chart, values, NAMESPACE), lab, values)


def test_every_container_of_airflow_names_its_sessions_after_its_pod(
    manifests: list[Manifest],
) -> None:
    for name, pod in pods(manifests).items():
        for container in containers(pod):
            if container["name"] == "start-delay":
                continue
            said = variables(container).get("PGAPPNAME", {})
            assert said.get("valueFrom") == {"fieldRef": {"fieldPath": "metadata.name"}}, name


def test_no_password_is_anywhere_outside_of_secrets(manifests: list[Manifest]) -> None:
    for each in manifests:
        if each["kind"] == "Secret":
            assert "metadata" not in each["metadata"]["name"]
            assert "pgbouncer" not in each["metadata"]["name"]
            continue
        text = yaml.safe_dump(each)
        assert "postgresql://" not in text, each["metadata"]["name"]
        assert "password=" not in text, each["metadata"]["name"]
    for pod in pods(manifests).values():
        for container in containers(pod):
            url = variables(container).get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
            if url:
                assert url["valueFrom"]["secretKeyRef"]["name"] == "ha-chaos-metadata"


def test_dags_are_mounted_file_by_file_where_they_are_parsed(manifests: list[Manifest]) -> None:
    processor = workload(manifests, "-dag-processor")
    for pod in (processor, worker(manifests)):
        mounts = {
            mount["mountPath"]: mount.get("subPath")
            for mount in pod["containers"][0]["volumeMounts"]
            if mount["name"] == "ha-chaos-dags"
        }
        assert mounts == {f"/opt/airflow/dags/{name}": name for name in dag_files()}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["ha-chaos-dags"]["configMap"] == {"name": "ha-chaos-dags"}


def test_dag_processor_and_workers_are_told_the_shapes(manifests: list[Manifest]) -> None:
    for pod in (workload(manifests, "-dag-processor"), worker(manifests)):
        said = variables(pod["containers"][0])
        assert {name: said[name]["value"] for name in SHAPES} == SHAPES


def test_workers_alone_get_the_ledger_and_from_its_secret(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        found = variables(pod["containers"][0]).get("HA_CHAOS_LEDGER")
        wanted = {"secretKeyRef": {"name": "ha-chaos-ledger", "key": "dsn"}}
        assert (found or {}).get("valueFrom") == (wanted if name == "worker" else None), name


def test_airflow_is_the_one_asked_for_and_its_executor_makes_pods(
    manifests: list[Manifest], version: str
) -> None:
    for name, pod in pods(manifests).items():
        images = {container["image"] for container in containers(pod)}
        assert images == {f"apache/airflow:{version}"}, name
    settings = config(manifests)["airflow.cfg"].splitlines()
    for line in (
        "executor = KubernetesExecutor",
        "simple_auth_manager_all_admins = True",
        "parallelism = 200",
        "delete_worker_pods = False",
        "dags_are_paused_at_creation = False",
        "sql_alchemy_pool_size = 20",
    ):
        assert settings.count(line) == 1, line
    assert "AIRFLOW__API_AUTH__JWT_SECRET" in variables(
        workload(manifests, "-api-server")["containers"][0]
    )


def test_the_migration_is_no_hook_and_leaves_its_log(plain: list[Manifest]) -> None:
    job = only(plain, "Job", "-run-airflow-migrations")

    assert "helm.sh/hook" not in (job["metadata"].get("annotations") or {})
    assert "ttlSecondsAfterFinished" not in job["spec"]
    waiting = workload(plain, "-scheduler")["initContainers"][0]
    assert "--migration-wait-timeout=600" in waiting["args"]


def test_rights_end_at_the_namespace(manifests: list[Manifest]) -> None:
    assert not [each for each in manifests if each["kind"].startswith("Cluster")]


def probe(manifests: list[Manifest], name: str, kind: str) -> Manifest:
    """Return a component's probe."""
    found: Manifest = workload(manifests, name)["containers"][0][kind]
    return found


def test_no_probe_restarts_what_a_fault_stalls(plain: list[Manifest]) -> None:
    for name in ("-scheduler", "-dag-processor"):
        assert probe(plain, name, "livenessProbe")["exec"]["command"] == ["true"]
    served = probe(plain, "-api-server", "livenessProbe")
    assert served["failureThreshold"] * served["periodSeconds"] >= 24 * 3600
    started = probe(plain, "-scheduler", "startupProbe")
    assert "airflow" not in started["exec"]["command"]
    compile(started["exec"]["command"][-1], "startupProbe", "exec")


def test_the_charts_own_liveness_is_a_layer_away(chart: Chart, version: str) -> None:
    manifests = rendered(chart, version, "liveness-defaults", 2)

    found = probe(manifests, "-scheduler", "livenessProbe")
    assert "airflow jobs check" in found["exec"]["command"][-1]
    assert (found["failureThreshold"], found["periodSeconds"]) == (5, 60)
    served = probe(manifests, "-api-server", "livenessProbe")
    assert (served["failureThreshold"], served["periodSeconds"]) == (5, 10)


def test_slow_pods_sleep_before_the_worker_as_the_configmap_says(
    chart: Chart, version: str, plain: list[Manifest]
) -> None:
    pod = worker(rendered(chart, version, "slow-pods", 2))

    (delay,) = pod["initContainers"]
    assert delay["image"] == pod["containers"][0]["image"]
    assert delay["imagePullPolicy"] == "IfNotPresent"
    assert variables(delay)["START_DELAY"]["valueFrom"]["configMapKeyRef"] == {
        "name": "ha-chaos-worker",
        "key": "start_delay",
        "optional": True,
    }
    assert not worker(plain)["initContainers"]


def test_a_users_own_dags_are_unpacked_where_they_are_parsed(chart: Chart, version: str) -> None:
    manifests = both(chart, version, "dags-own", "triggerer")
    parse = [workload(manifests, name) for name in ("-dag-processor", "-triggerer")]
    for pod in (*parse, worker(manifests)):
        (unpack,) = (each for each in pod["initContainers"] if each["name"] == "own-dags")
        (airflow,) = (each for each in pod["containers"] if each["name"] in AIRFLOW)
        assert unpack["image"] == airflow["image"]
        assert unpack["command"][-2:] == ["/ha-chaos-dags/dags.tar.gz", "/opt/airflow/dags"]
        mounted = {each["mountPath"]: each["name"] for each in airflow["volumeMounts"]}
        assert mounted["/opt/airflow/dags"] == "own-dags"
        assert not [path for path in mounted if path.startswith("/opt/airflow/dags/")]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["ha-chaos-dags"]["configMap"] == {"name": "ha-chaos-dags"}
        assert "emptyDir" in volumes["own-dags"]


def test_pgbouncers_configuration_is_the_labs_secret(chart: Chart, version: str) -> None:
    manifests = rendered(chart, version, "pgbouncer", 2)

    pod = workload(manifests, "-pgbouncer")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["pgbouncer-config"]["secret"]["secretName"] == "ha-chaos-pgbouncer"
    url = variables(pod["containers"][1])["DATABASE_URL"]["valueFrom"]["secretKeyRef"]
    assert url == {"name": "ha-chaos-pgbouncer-stats", "key": "connection"}
    assert only(manifests, "Service", "-pgbouncer")["spec"]["ports"][0]["port"] == 6543


def test_timings_keep_the_ratio_of_limit_and_heartbeat(chart: Chart, version: str) -> None:
    settings = config(rendered(chart, version, "timings", 2))["airflow.cfg"].splitlines()

    assert "scheduler_health_check_threshold = 12" in settings
    assert "job_heartbeat_sec = 2" in settings


def test_values_that_the_chart_does_not_take_are_told_in_one_line(chart: Chart) -> None:
    values = merged(lab_values("3.0.6", schedulers=2, image="a:b")) | {"airflowVersion": "new"}

    with pytest.raises(UserError, match=rf"chart airflow {chart.version} does not take") as error:
        render("helm", chart, values, NAMESPACE)
    assert "\n" not in str(error.value)
