"""A user's own values with a real chart and the real helm: what works, and what is told by key.

Charts and helm are found as in test_render.py.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from lab.kind.helm.chart import Chart, contents, resolve
from lab.kind.helm.files import Given, read_file
from lab.kind.helm.install import render
from lab.kind.helm.own import Accepted, accept
from lab.kind.helm.rendered import require
from lab.kind.helm.unknown import unknown
from lab.kind.helm.values import LAYERS, dag_files, lab_values, merged
from lab.kind.provision import Provision, look_through, told

CHARTS = [path for path in os.environ.get("HA_CHAOS_CHARTS", "").split(":") if path]

if not CHARTS:
    pytest.skip("HA_CHAOS_CHARTS names no chart: no values were rendered", allow_module_level=True)
if not shutil.which("helm"):
    pytest.skip("there is no helm on PATH: no values were rendered", allow_module_level=True)

LAB = lab_values("3.3.2", schedulers=2, image="apache/airflow:3.3.2", dag_files=dag_files())
CELERY = """
executor: CeleryExecutor,KubernetesExecutor
workers:
  celery: {replicas: 2, persistence: {enabled: false}}
  kubernetes:
    extraVolumes: [{name: plugins, emptyDir: {}}]
    extraVolumeMounts: [{name: plugins, mountPath: /opt/airflow/plugins}]
    env: [{name: TEAM, value: data}]
data: {metadataSecretName: airflow-metadata-secret}
pgbouncer: {enabled: true}
dags: {gitSync: {enabled: true, repo: "git@git.example:a/b.git", subPath: dags, sshKeySecret: ssh}}
config:
  core: {auth_manager: airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager}
"""


@pytest.fixture(params=CHARTS, ids=lambda path: path.rsplit("/", 1)[-1])
def chart(request: pytest.FixtureRequest) -> Chart:
    """Return each chart that there is."""
    return resolve(request.param, None, "helm", "3.0.6")


class Trial:
    """Gives values to a lab, and renders what becomes of them."""

    def __init__(self, folder: Path, chart: Chart) -> None:
        self._folder, self.chart = folder, chart

    def accepted(self, *texts: str) -> Accepted:
        """Return what is accepted of files with these texts."""
        paths = [self._folder / f"own{number}.yaml" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return accept(paths, LAB, self.chart)

    def rendered(self, *texts: str) -> list[dict[str, Any]]:
        """Return the manifests, in which the lab is what was asked for."""
        values = self.accepted(*texts).values
        manifests = render("helm", self.chart, values, "ha-chaos-test")
        require(manifests, LAB, values)
        return manifests

    def refused(self, *texts: str) -> str:
        """Return why files with these texts are refused."""
        with pytest.raises(UserError) as caught:
            self.rendered(*texts)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def own(tmp_path: Path, chart: Chart) -> Trial:
    """Return a trial with each chart."""
    return Trial(tmp_path, chart)


def worker(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the container of a worker's pod."""
    files = [each["data"] for each in manifests if "airflow.cfg" in (each.get("data") or {})]
    container: dict[str, Any] = yaml.safe_load(files[0]["pod_template_file.yaml"])["spec"][
        "containers"
    ][0]
    return container


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def has(chart: Chart, *path: str) -> bool:
    """Tell whether a chart has a key."""
    node: Any = contents(chart).defaults
    for part in path:
        node = (node or {}).get(part, ...) if isinstance(node, dict) else ...
    return node is not ...


def test_a_charts_own_values_and_ours_have_no_key_that_it_does_not_know(chart: Chart) -> None:
    takes = contents(chart)
    defaults = Given(Path("values.yaml"), takes.defaults)
    assert list(unknown(defaults, takes)) == []
    if not takes.schema:
        pytest.skip("this chart has no schema")
    for path in sorted(LAYERS.glob("*.yaml")):
        assert list(unknown(read_file(path), takes)) == [], path.name


def test_a_copy_of_the_charts_values_is_told_what_to_change(own: Trial) -> None:
    copy = yaml.safe_dump(contents(own.chart).defaults)
    changes = {
        "executor": "KubernetesExecutor",
        "scheduler": {"replicas": 2},
        "airflowVersion": "3.3.2",
        "defaultAirflowTag": "3.3.2",
    }

    said = own.refused(copy)
    for key in ("executor is 'CeleryExecutor'", "scheduler.replicas is 1", "airflowVersion is "):
        assert key in said

    own.rendered(copy, yaml.safe_dump(changes))


def test_mounts_and_variables_of_kubernetes_workers_work_beside_the_labs(own: Trial) -> None:
    if not has(own.chart, "workers", "kubernetes"):
        assert "workers.kubernetes is no key" in own.refused(
            "workers: {kubernetes: {env: [{name: A, value: x}]}}"
        )
        return
    manifests = own.rendered(CELERY, "executor: KubernetesExecutor")

    found = worker(manifests)
    assert variables(found)["TEAM"] == "data"
    assert "HA_CHAOS_LEDGER" in variables(found)
    mounts = {each["mountPath"] for each in found["volumeMounts"]}
    assert mounts >= {"/opt/airflow/plugins", *(f"/opt/airflow/dags/{n}" for n in dag_files())}


def test_what_a_lab_has_itself_is_told_by_key_and_left_out(own: Trial) -> None:
    notes = " ".join(own.accepted(CELERY, "executor: KubernetesExecutor").notes)

    for key in (
        "data.metadataSecretName",
        "pgbouncer.enabled",
        "dags.gitSync.enabled",
        "config.core.auth_manager",
    ):
        assert f"own0.yaml: {key}" in notes


def test_templates_in_variables_are_rendered(own: Trial) -> None:
    text = """
extraEnv: |
  {{- if .Values.labels }}
  - name: RELEASE
    value: {{ .Release.Name }}-x
  {{- end }}
labels: {team: data}
"""
    found = variables(worker(own.rendered(text)))

    assert found["RELEASE"] == "airflow-x"
    assert "PGAPPNAME" in found


def test_a_template_with_the_labs_name_in_disguise_is_seen_when_rendered(own: Trial) -> None:
    text = "extraEnv: |\n  - name: PG{{ 'APPNAME' }}\n    value: x\n".replace("'", '"')

    said = own.refused(text)

    assert "PGAPPNAME is not the pod's name in" in said
    assert "(env, extraEnv)" in said


def test_a_key_that_another_chart_has_is_refused(own: Trial) -> None:
    assert "schedulr is no key of the chart (meant scheduler?)" in own.refused("schedulr: {a: 1}")
    if contents(own.chart).schema:
        said = own.refused("scheduler: {replica: 2, serviceAccount: {anotations: {}}}")
        assert "scheduler.replica is no key" in said
        assert "scheduler.serviceAccount.anotations is no key" in said


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("fernetKeySecretName: prod-fernet", "Secret prod-fernet (fernetKeySecretName)"),
        (
            "extraEnvFrom: |\n  - secretRef: {name: prod-conns}\n",
            "Secret prod-conns (extraEnvFrom)",
        ),
        (
            "secret: [{envName: A, secretName: prod-a, secretKey: b}]",
            "Secret prod-a (secret[0].secretName)",
        ),
        (
            "scheduler: {serviceAccount: {create: false, name: prod-sa}}",
            "ServiceAccount prod-sa (scheduler.serviceAccount.name)",
        ),
        (
            "volumes: [{name: ca, configMap: {name: prod-ca}}]",
            "ConfigMap prod-ca (volumes[ca].configMap.name)",
        ),
        (
            "workers: {extraVolumes: [{name: d, persistentVolumeClaim: {claimName: prod-d}}]}",
            "PersistentVolumeClaim prod-d (workers.extraVolumes[d].persistentVolumeClaim",
        ),
    ],
)
def test_what_pods_would_wait_for_in_vain_is_named_with_its_key(
    own: Trial, text: str, missing: str
) -> None:
    assert missing in own.refused(text)


def test_what_is_told_is_told_once_and_kept_for_the_sessions_record(
    chart: Chart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "told-once.yaml"
    path.write_text("labels: {a: b}\n---\npgbouncer: {enabled: true}\n")
    wanted = Provision("c", str(chart.path), "a:{version}", "p", values=(str(path),))

    with caplog.at_level("INFO", "lab"):
        for version in ("3.0.6", "3.3.2"):
            look_through(wanted, chart, version, f"a:{version}", 2)

    notes = [each.getMessage() for each in caplog.records if "told-once" in each.getMessage()]
    assert len(notes) == 1
    assert notes[0] in told()
    assert any("pgbouncer.enabled" in each for each in told())


def test_what_the_values_make_themselves_is_not_missing(own: Trial) -> None:
    own.rendered(
        "extraSecrets: {prod-conns: {stringData: 'A: b'}}\n"
        "extraEnvFrom: |\n  - secretRef: {name: prod-conns}\n"
        "  - secretRef: {name: maybe, optional: true}\n"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"executor": "LocalExecutor"}, "its executor is 'LocalExecutor'"),
        ({"scheduler": {"replicas": 3}}, "3 schedulers instead of 2"),
        ({"images": {"airflow": {"tag": "3.0.6"}}}, "it runs apache/airflow:3.0.6"),
        ({"airflowHome": "/srv"}, "its DAG folder is '/srv/dags'"),
        ({"workers": {"extraVolumeMounts": []}}, "is not the lab's in worker"),
        ({"workers": {"env": []}}, "HA_CHAOS_LEDGER is not the lab's"),
        ({"extraEnv": None}, "PGAPPNAME is not the pod's name"),
        (
            {"priorityClasses": [{"name": "prod", "preemptionPolicy": "Never", "value": 1}]},
            "PriorityClass airflow-prod would stay in the cluster",
        ),
        ({"data": {"metadataSecretName": "prod"}}, "SQL_ALCHEMY_CONN is not the lab's"),
        (
            {"pgbouncer": {"enabled": True}, "fullnameOverride": "prod", "useStandardNaming": True},
            "there is no Service airflow-pgbouncer",
        ),
    ],
)
def test_another_lab_is_seen_in_what_was_rendered(
    chart: Chart, change: dict[str, Any], said: str
) -> None:
    values = merged(LAB)
    for key, value in change.items():
        values[key] = (values.get(key) or {}) | value if isinstance(value, dict) else value

    with pytest.raises(UserError) as caught:
        require(render("helm", chart, values, "ha-chaos-test"), LAB, values)
    assert said in str(caught.value)
