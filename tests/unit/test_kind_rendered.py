"""What a chart made of values is looked through before it is installed; no chart is needed here."""

from typing import Any

import pytest
import yaml

from common.errors import UserError
from lab.kind.helm.rendered import require
from lab.kind.helm.values import lab_values, merged

IMAGE = "apache/airflow:3.0.6"
LAB = lab_values("3.0.6", schedulers=2, image=IMAGE, layers=["triggerer"], dag_files=["work.py"])
VALUES = merged(LAB)
CFG = "[core]\nexecutor = KubernetesExecutor\ndags_folder = /opt/airflow/dags\n"
MOUNT = {"name": "ha-chaos-dags", "mountPath": "/opt/airflow/dags/work.py"}
ENV: dict[str, Any] = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": {"secretKeyRef": {"name": "ha-chaos-metadata"}},
    "PGAPPNAME": {"fieldRef": {"fieldPath": "metadata.name"}},
    "HA_CHAOS_LEDGER": {"secretKeyRef": {"name": "ha-chaos-ledger"}},
}


def pod(container: str, **changes: Any) -> dict[str, Any]:
    """Return the spec of a pod of Airflow's."""
    env = [{"name": name, "valueFrom": source} for name, source in ENV.items()]
    made = {"name": container, "image": IMAGE, "env": env, "volumeMounts": [MOUNT]}
    return {"containers": [made | changes]}


def workload(name: str, kind: str = "Deployment", spec: dict[str, Any] | None = None) -> Any:
    """Return a component as the chart renders it."""
    replicas = 2 if name == "scheduler" else 1
    return {
        "kind": kind,
        "metadata": {"name": name, "labels": {"component": name}},
        "spec": {"replicas": replicas, "template": {"spec": spec or pod(name)}},
    }


def config(cfg: str = CFG, worker: dict[str, Any] | None = None) -> Any:
    """Return the ConfigMap of Airflow's configuration and of the workers' pod."""
    template = yaml.safe_dump({"spec": worker or pod("base")})
    data = {"airflow.cfg": cfg, "pod_template_file.yaml": template}
    return {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": data}


def release(*others: Any) -> list[Any]:
    """Return a release that is a lab, with some manifests in place of those of that name."""
    parts = [
        *map(workload, ("scheduler", "api-server", "dag-processor")),
        workload("triggerer", "StatefulSet"),
        config(),
    ]
    named = {each["metadata"]["name"]: each for each in (*parts, *others)}
    return list(named.values())


def test_a_lab_is_a_lab() -> None:
    require(release(), LAB, VALUES)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (["triggerer"], "renders no triggerer for Airflow 3.0.6"),
        (["api-server", "dag-processor"], "no api-server and no dag-processor"),
    ],
)
def test_a_component_that_the_chart_did_not_render_is_an_error(gone: list[str], said: str) -> None:
    services = [workload(name, "Service") for name in gone]
    rest = [each for each in release() if each["metadata"]["name"] not in gone]

    with pytest.raises(UserError, match=said) as caught:
        require([*rest, *services], LAB, VALUES)
    assert "airflowVersion" in caught.value.hint


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (workload("scheduler") | {"spec": {"replicas": 1, "template": {"spec": pod("scheduler")}}},
         "1 schedulers instead of 2 (scheduler.replicas)"),
        (config(CFG.replace("Kubernetes", "Celery")), "its executor is 'CeleryExecutor'"),
        (config(CFG.replace("/opt", "/srv")), "its DAG folder is '/srv/airflow/dags'"),
        (config(""), "its executor is ''"),
        (config(worker=pod("base", image="a:b")), "it runs a:b instead of apache/airflow:3.0.6"),
        (config(worker=pod("base", volumeMounts=[])), "work.py is not the lab's in worker"),
        (config(worker=pod("base", volumeMounts=[MOUNT | {"name": "other"}])), "is not the lab's"),
        (config(worker=pod("base", env=[])), "HA_CHAOS_LEDGER is not the lab's in worker"),
        (workload("triggerer", spec=pod("triggerer", env=None)),
         "PGAPPNAME is not the pod's name in triggerer"),
        (workload("api-server", spec=pod("api-server", env=[
            *({"name": name, "valueFrom": source} for name, source in ENV.items()),
            {"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "value": "x"}])),
         "SQL_ALCHEMY_CONN is not the lab's in api-server"),
    ],
)  # fmt: skip
def test_what_is_not_the_lab_is_told_with_the_key_to_look_at(other: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        require(release(other), LAB, VALUES)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sidecar_of_the_users_is_theirs() -> None:
    both = pod("scheduler")["containers"] + [{"name": "mine", "image": "a:b"}]

    require(release(workload("scheduler", spec={"containers": both})), LAB, VALUES)


@pytest.mark.parametrize("kind", ["PriorityClass", "ClusterRole", "ClusterRoleBinding"])
def test_what_would_outlive_the_labs_namespace_is_refused(kind: str) -> None:
    other = {"kind": kind, "metadata": {"name": "prod"}}

    with pytest.raises(UserError, match=f"{kind} prod would stay in the cluster"):
        require(release(other), LAB, VALUES)


def test_a_priority_that_no_cluster_has_is_named() -> None:
    spec = pod("scheduler") | {"priorityClassName": "prod"}
    with pytest.raises(UserError, match="PriorityClass prod"):
        require(release(workload("scheduler", spec=spec)), LAB, VALUES)
    spec["priorityClassName"] = "system-node-critical"
    require(release(workload("scheduler", spec=spec)), LAB, VALUES)


def test_the_proxy_must_find_pgbouncer() -> None:
    values = VALUES | {"pgbouncer": {"enabled": True}}
    service = {"kind": "Service", "metadata": {"name": "airflow-pgbouncer"}}

    require(release(service), LAB, values)
    with pytest.raises(UserError, match="no Service airflow-pgbouncer"):
        require(release(), LAB, values)


SECRET = {"name": "prod", "key": "k"}


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (pod("scheduler") | {"serviceAccountName": "prod"}, "ServiceAccount"),
        (pod("scheduler") | {"volumes": [{"secret": {"secretName": "prod"}}]}, "Secret"),
        (pod("scheduler") | {"volumes": [{"configMap": {"name": "prod"}}]}, "ConfigMap"),
        (pod("scheduler") | {"volumes": [{"projected": {"sources": [{"secret": SECRET}]}}]},
         "Secret"),
        (pod("scheduler") | {"volumes": [{"persistentVolumeClaim": {"claimName": "prod"}}]},
         "PersistentVolumeClaim"),
        (pod("scheduler", envFrom=[{"configMapRef": {"name": "prod"}}]), "ConfigMap"),
        (pod("scheduler") | {"initContainers": [
            {"name": "mine", "env": [{"name": "A", "valueFrom": {"secretKeyRef": SECRET}}]}]},
         "Secret"),
    ],
)  # fmt: skip
def test_what_nobody_makes_is_named_with_the_key_that_names_it(
    spec: dict[str, Any], kind: str
) -> None:
    values = VALUES | {"some": {"list": [{"name": "a", "of": "prod"}]}, "text": "- x:\n  prod"}

    with pytest.raises(UserError) as caught:
        require(release(workload("scheduler", spec=spec)), LAB, values)
    assert f"{kind} prod (some.list[a].of, text)" in str(caught.value)

    made = {"kind": kind, "metadata": {"name": "prod"}}
    require(release(workload("scheduler", spec=spec), made), LAB, values)


def test_what_is_optional_may_be_missing() -> None:
    source = {"secret": {"secretName": "prod", "optional": True}}

    require(
        release(workload("scheduler", spec=pod("scheduler") | {"volumes": [source]})), LAB, VALUES
    )
