"""A user's own values on kind: what would be ignored or would make another lab is told by key.

The chart is a small one, made here, with a schema in the manner of the official one's.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from lab.kind.helm.chart import Chart, inspect
from lab.kind.helm.own import Accepted, accept
from lab.kind.helm.values import DAGS_FOLDER, lab_values

FILES = ["factory.py", "shapes.py"]
OBJECT = {"type": "object"}
ENV = {"type": "array", "items": {"$ref": "#/definitions/EnvVar"}}
WORKERS = {
    key: {"type": "array"}
    for key in ("extraVolumes", "extraVolumeMounts", "extraInitContainers", "volumeMounts")
} | {"env": ENV, "resources": {"$ref": "#/definitions/Resources"}}
SCHEMA = {
    "definitions": {
        "EnvVar": {"properties": {"name": {}, "value": {}, "valueFrom": OBJECT}},
        "Resources": {"properties": {"limits": OBJECT, "requests": OBJECT}},
    },
    "properties": {
        "executor": {"type": "string"},
        "env": ENV,
        "labels": {"additionalProperties": {"type": "string"}},
        "config": {"additionalProperties": {"additionalProperties": {}}},
        "scheduler": {
            "additionalProperties": False,
            "properties": {"replicas": {}, "serviceAccount": {"properties": {"create": {}}}},
        },
        "workers": {
            "properties": {**WORKERS, "kubernetes": {"properties": WORKERS}, "persistence": OBJECT}
        },
        "postgresql": {"properties": {"enabled": {}}},
    },
}
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("extraEnv", "podTemplate", "airflowVersion", "secret", "extraEnvFrom")),
    **{key: {"enabled": False} for key in ("pgbouncer", "logs", "registry")},
    **dict.fromkeys(("defaultAirflowRepository", "defaultAirflowTag", "defaultAirflowDigest"), ""),
    "airflowHome": "/opt/airflow",
    "config": {"core": {"executor": "{{ .Values.executor }}"}},
    "executor": "CeleryExecutor",
    "images": {"airflow": {"pullPolicy": "IfNotPresent"}},
    "dags": {"gitSync": {"enabled": False, "repo": ""}, "persistence": {"enabled": False}},
    "data": {"metadataSecretName": None, "metadataConnection": {"user": "postgres"}},
    "scheduler": {"replicas": 1},
    "workers": {"env": [], "extraVolumeMounts": []},
    "rbac": {"create": True},
    "multiNamespaceMode": False,
    "allowPodLaunching": True,
    "dagProcessor": {"enabled": None, "extraVolumeMounts": []},
    "apiServer": {"enabled": True},
    "ports": {"apiServer": 8080},
    "webserver": {"defaultUser": {"enabled": True}},
    "createUserJob": {"enabled": True},
    "postgresql": {"enabled": True},
    "fernetKeySecretName": None,
}


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """Return a chart with a schema."""
    folder = tmp_path / "airflow"
    folder.mkdir()
    about = {"name": "airflow", "version": "1.22.0", "dependencies": [{"name": "postgresql"}]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    (folder / "values.yaml").write_text(yaml.safe_dump(DEFAULTS))
    (folder / "values.schema.json").write_text(json.dumps(SCHEMA))
    return inspect(folder)


LAB = lab_values("3.3.2", schedulers=2, image="apache/airflow:3.3.2", dag_files=FILES)


class Trial:
    """Gives values to a lab, and returns what becomes of them."""

    def __init__(self, folder: Path, chart: Chart | None) -> None:
        self._folder, self._chart = folder, chart

    def __call__(self, *texts: str | dict[str, Any]) -> Accepted:
        """Return what is accepted of files with these texts."""
        paths = []
        for number, text in enumerate(texts):
            path = self._folder / f"own{number or ''}.yaml"
            path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
            paths.append(path)
        return accept(paths, LAB, self._chart)

    def refused(self, *texts: str | dict[str, Any]) -> str:
        """Return why files with these texts are refused, in one line."""
        with pytest.raises(UserError) as caught:
            self(*texts)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def own(tmp_path: Path, chart: Chart) -> Trial:
    """Return a trial with the chart."""
    return Trial(tmp_path, chart)


def names(values: Any) -> list[str]:
    return [each["name"] for each in values]


def test_without_values_of_ones_own_the_labs_stand(own: Trial) -> None:
    found = own()

    assert found.values["executor"] == "KubernetesExecutor"
    assert found.notes == ()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("executor", "CeleryExecutor", "executor is 'CeleryExecutor'"),
        ("executor", "CeleryExecutor,KubernetesExecutor", "is 'CeleryExecutor,KubernetesExecutor'"),
        ("executor", "LocalExecutor", "a lab on kind is KubernetesExecutor alone"),
        ("config", {"core": {"executor": "LocalExecutor"}}, "config.core.executor is 'LocalExec"),
        (
            "env",
            [{"name": "AIRFLOW__CORE__EXECUTOR", "value": "x"}],
            "env[AIRFLOW__CORE__EXECUTOR]",
        ),
        ("scheduler", {"replicas": 3}, "scheduler.replicas is 3, --schedulers 2"),
        ("scheduler", {"replicas": 0}, "scheduler.replicas is 0, --schedulers 2"),
        ("apiServer", {"enabled": False}, "apiServer.enabled is off"),
        ("dagProcessor", {"enabled": False}, "dagProcessor.enabled is off"),
        ("airflowVersion", "3.0.6", "airflowVersion is '3.0.6', --airflow 3.3.2"),
        ("airflowVersion", "latest", "airflowVersion is 'latest', --airflow 3.3.2"),
        ("defaultAirflowTag", "3.0.6", "say --airflow-image apache/airflow:3.0.6"),
        ("defaultAirflowRepository", "my/own", "say --airflow-image my/own:3.3.2"),
        ("defaultAirflowDigest", "sha256:00", "defaultAirflowDigest is 'sha256:00'"),
        ("images", {"airflow": {"tag": "x"}}, "images.airflow.tag is 'x'"),
        ("images", {"airflow": {"digest": "sha256:00"}}, "images.airflow.digest is 'sha256:00'"),
        ("images", {"pod_template": {"tag": "x"}}, "images.pod_template.tag is 'x'"),
    ],
)
def test_what_makes_the_verdict_another_ones_is_refused_by_key(
    own: Trial, key: str, value: object, said: str
) -> None:
    assert said in own.refused({key: value})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"data": {"metadataSecretName": "prod-db"}}, "data.metadataSecretName"),
        ({"data": {"metadataConnection": {"pass": "s3cret"}}}, "data.metadataConnection"),
        ({"postgresql": {"enabled": True}}, "postgresql.enabled"),
        ({"pgbouncer": {"enabled": True}}, "pgbouncer.enabled"),
        ({"dags": {"gitSync": {"enabled": True, "repo": "x"}}}, "dags.gitSync.enabled"),
        ({"dags": {"persistence": {"enabled": True}}}, "dags.persistence.enabled"),
        ({"dags": {"mountPath": "/dags"}}, "dags.mountPath"),
        ({"logs": {"persistence": {"enabled": True}}}, "logs.persistence.enabled"),
        ({"airflowHome": "/home/airflow"}, "airflowHome"),
        ({"dagProcessor": {"dagBundleConfigList": [{"name": "git"}]}}, "dagBundleConfigList"),
        ({"config": {"core": {"auth_manager": "x.Fab"}}}, "config.core.auth_manager"),
        ({"config": {"core": {"dags_are_paused_at_creation": "True"}}}, "paused_at_creation"),
        ({"config": {"api": {"base_url": "https://x/airflow"}}}, "config.api.base_url"),
        ({"webserver": {"defaultUser": {"enabled": True}}}, "webserver.defaultUser.enabled"),
        ({"podTemplate": "kind: Pod"}, "podTemplate"),
        ({"multiNamespaceMode": True}, "multiNamespaceMode"),
        ({"allowPodLaunching": False}, "allowPodLaunching"),
        ({"rbac": {"create": False}}, "rbac.create"),
        ({"images": {"airflow": {"pullPolicy": "Always"}}}, "images.airflow.pullPolicy"),
        ({"ports": {"apiServer": 80}}, "ports.apiServer"),
        ({"env": [{"name": "HA_CHAOS_SLEEP", "value": "9"}]}, "env[HA_CHAOS_SLEEP]"),
        ({"env": [{"name": "AIRFLOW_HOME", "value": "/x"}]}, "env[AIRFLOW_HOME]"),
        ({"workers": {"env": [{"name": "HA_CHAOS_LEDGER"}]}}, "workers.env[HA_CHAOS_LEDGER]"),
        ({"extraEnv": "- {name: PGAPPNAME, value: x}"}, "extraEnv[PGAPPNAME]"),
        (
            {"env": [{"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD", "value": "cat"}]},
            "env[AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD]",
        ),
        (
            {"secret": [{"envName": "AIRFLOW__CORE__AUTH_MANAGER", "secretName": "x"}]},
            "secret[AIRFLOW__CORE__AUTH_MANAGER]",
        ),
        *(
            ({"workers": {"extraVolumeMounts": [{"name": "x", "mountPath": path}]}}, f"[{path}]")
            for path in (DAGS_FOLDER, f"{DAGS_FOLDER}/factory.py", "/opt/airflow/", "/")
        ),
    ],
)
def test_what_a_lab_has_a_substitute_for_is_taken_out_and_told_by_key(
    own: Trial, values: dict[str, Any], key: str
) -> None:
    found = own(values)

    plain = own().values
    assert {key: found.values[key] for key in plain} == plain
    (note,) = found.notes
    assert note.startswith("--values: not taken, as ")
    assert key in note
    assert "s3cret" not in note


@pytest.mark.parametrize(
    "values",
    [
        {"executor": "KubernetesExecutor", "scheduler": {"replicas": 2}},
        {"airflowVersion": "3.3.2", "defaultAirflowTag": "3.3.2"},
        {"images": {"airflow": {"repository": "apache/airflow", "tag": "3.3.2", "digest": None}}},
        {"data": {"metadataSecretName": None}, "pgbouncer": {"enabled": False}},
        {"airflowHome": "/opt/airflow", "rbac": {"create": True}, "podTemplate": None},
        {"dags": {"gitSync": {"enabled": False}}, "postgresql": {"enabled": False}},
        {"extraEnv": None, "workers": {"env": None, "extraVolumeMounts": []}},
        {"extraEnv": "", "workers": {"env": [], "extraVolumeMounts": None}},
        {"config": {"core": {"executor": "{{ .Values.executor }}"}}},
        {},
    ],
)
def test_what_says_the_same_or_nothing_is_not_worth_a_word(
    own: Trial, values: dict[str, Any]
) -> None:
    found = own(values)

    assert found.notes == ()
    for key in ("executor", "scheduler", "workers", "extraEnv", "env", "dagProcessor"):
        assert found.values[key] == own().values[key], key


def test_a_null_takes_nothing_of_the_labs_away(own: Trial) -> None:
    found = own("scheduler: ~\nworkers:\nconfig: {core: ~}\nlabels: ~\n")

    assert found.values["scheduler"] == own().values["scheduler"]
    assert found.values["config"] == own().values["config"]
    (note,) = found.notes
    assert "a null would take away" in note
    assert "scheduler, workers, config.core." in note
    assert found.values["labels"] is None


def test_what_a_user_changes_of_the_layers_is_taken_and_told_once(own: Trial) -> None:
    own_values = {"config": {"core": {"parallelism": 7, "fernet_key": "s3cret"}}}

    found = own(own_values)

    assert found.values["config"]["core"]["parallelism"] == 7
    assert found.notes == ("--values: changes what charts-values/ sets: config.core.parallelism.",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedulr": {"replicas": 2}}, "schedulr is no key of the chart (meant scheduler?)"),
        (
            {"scheduler": {"replica": 2}},
            "scheduler.replica is no key of the chart (meant repli",
        ),
        (
            {"scheduler": {"serviceAccount": {"creat": True}}},
            "scheduler.serviceAccount.creat is no key of the chart (meant create?)",
        ),
        ({"workers": {"resources": {"limit": {}}}}, "workers.resources.limit is no key"),
        ({"env": [{"name": "A", "val": "1"}]}, "env[A].val is no key of the chart"),
        ({"web": {}, "externalDatabase": {}, "airflow": {"image": {}}}, "values of another chart?"),
    ],
)
def test_a_key_that_the_chart_does_not_know_is_refused(
    own: Trial, values: dict[str, Any], said: str
) -> None:
    assert said in own.refused(values)


@pytest.mark.parametrize(
    "values",
    [
        {"labels": {"team": "data"}, "config": {"own_section": {"own_option": 1}}},
        {"global": {"imageRegistry": "x"}, "x-common": {"a": 1}, "_shared": [1], ".hidden": 2},
        {"postgresql": {"image": {"tag": "16"}}, "registry": {"anything": 1}},
    ],
)
def test_what_the_chart_leaves_free_is_not_looked_into(own: Trial, values: dict[str, Any]) -> None:
    assert own(values).notes == ()


def test_all_that_is_wrong_is_told_at_once_and_where(own: Trial) -> None:
    first = {"executor": "LocalExecutor", "lost": 1, "scheduler": {"replicas": 4}}
    said = own.refused(first, {"scheduler": {"replicas": 5}})

    assert "own.yaml: executor is 'LocalExecutor'" in said
    assert "own.yaml: lost is no key" in said
    assert "own1.yaml: scheduler.replicas is 5" in said


def test_a_later_file_has_the_last_word(own: Trial) -> None:
    found = own({"executor": "CeleryExecutor"}, {"executor": "KubernetesExecutor"})

    assert found.values["executor"] == "KubernetesExecutor"
    assert found.notes == ()


def test_documents_of_one_file_are_merged_in_order(own: Trial) -> None:
    found = own("---\nlabels: {a: x, b: x}\n---\nlabels: {b: y}\n---\n")

    assert found.values["labels"] == {"a": "x", "b": "y"}
    assert found.notes[0].startswith("own.yaml: its 2 YAML documents are merged in order")


def test_anchors_work_and_their_holder_need_not_be_a_key_of_the_chart(own: Trial) -> None:
    text = "common: &c [{name: A, value: '1'}]\nmore: &m {x: y}\nenv: *c\nlabels: {<<: *m, z: z}\n"

    found = own(text)

    assert names(found.values["env"]) == ["A"]
    assert found.values["labels"] == {"x": "y", "z": "z"}
    assert "unused is no key" in own.refused("unused: &u {x: y}\n")


@pytest.mark.parametrize("others", [{}, {"global": {"a": 1}}, {"ingress-nginx": {"a": 1}}])
def test_an_umbrella_charts_layout_is_taken_where_nothing_else_can_be_meant(
    own: Trial, others: dict[str, Any]
) -> None:
    found = own({"airflow": {"labels": {"a": "b"}, "pgbouncer": {"enabled": True}}} | others)

    assert found.values["labels"] == {"a": "b"}
    assert found.notes[0] == "own.yaml: the chart is given what stands below airflow."
    assert "airflow.pgbouncer.enabled" in found.notes[1]
    said = own.refused({"airflow": {"executor": "x", "labels": {}, "lost": 1}} | others)
    assert "airflow.executor is 'x'" in said
    assert "airflow.lost is no key of the chart" in said


def test_an_umbrella_charts_layout_that_is_not_clear_is_told(own: Trial) -> None:
    said = own.refused({"airflow": {"executor": "x"}, "postgresql": {"enabled": True}})

    assert "airflow is no key of the chart, but those below it are" in said
    assert "yq '.airflow' own.yaml" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, spec: {values: {a: 1}}}",
         "a manifest, a HelmRelease. Its values stand at .spec.values. Write them"),
        ("{apiVersion: argoproj.io/v1alpha1, kind: Application, spec: {sources: [{helm: "
         "{valuesObject: {a: 1}}}, {helm: {values: 'a: 1'}}]}}",
         ".spec.sources[0].helm.valuesObject and .spec.sources[1].helm.values"),
        ("{apiVersion: v1, kind: ConfigMap, data: {values.yaml: 'a: 1'}}",
         "yq '.data.\"values.yaml\"' own.yaml > "),
        ("{apiVersion: v1, kind: Secret, data: {values.yaml: YTogMQ==}}", "| base64 -d > "),
        ("{apiVersion: v1, kind: Pod}", "a manifest, a Pod"),
        ("executor: KubernetesExecutor\n---\n{apiVersion: v1, kind: Pod}", "a manifest, a Pod"),
        ("fernetKey: ENC[AES256_GCM,data:x,type:str]\n", "is encrypted with SOPS"),
        ("sops: {mac: x}\n", "sops decrypt own.yaml > "),
        ("$ANSIBLE_VAULT;1.1;AES256\n613362\n", "is encrypted with Ansible Vault"),
        ("scheduler: {replicas: 2}\na: 1\nscheduler: {x: 1}\n",
         "scheduler is there twice, in lines 1 and 3"),
        ("executor: {{ .Values.executor }}\n", "It has templates"),
        ("a: !vault x\n", "is not YAML"),
        ("a: &a [*a]\n", "has an anchor that contains itself"),
        ("a: 2026-13-45\n", "is not YAML"),
        ("[" * 3000, "nests too deeply"),
        ("just words", "is not a mapping"),
    ],
)  # fmt: skip
def test_what_is_no_values_file_is_said_to_be_what_it_is(own: Trial, text: str, said: str) -> None:
    assert said in own.refused(text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0GITCRYPT\0\x8f\xff", "is encrypted with git-crypt"),
        (b"a: \xff", "it is not UTF-8"),
    ],
)
def test_a_file_that_is_not_text_is_told(
    tmp_path: Path, chart: Chart, data: bytes, said: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(data)

    with pytest.raises(UserError, match=said):
        accept([path], LAB, chart)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path, chart: Chart) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes("\ufefflabels: {a: b}\n".encode())

    assert accept([path], LAB, chart).values["labels"] == {"a": "b"}


def test_variables_mounts_and_volumes_of_workers_are_added_to_the_labs(own: Trial) -> None:
    added = {
        "env": [{"name": "TEAM", "value": "data"}],
        "extraVolumes": [{"name": "plugins", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "plugins", "mountPath": "/opt/airflow/plugins"}],
    }
    for values in ({"workers": added}, {"workers": {"kubernetes": added}}):
        workers = own(values).values["workers"]
        found = workers | workers.get("kubernetes", {})
        assert names(found["env"]) == ["HA_CHAOS_LEDGER", "TEAM"]
        assert names(found["extraVolumes"]) == ["ha-chaos-dags", "plugins"]
        assert [each["mountPath"] for each in found["extraVolumeMounts"]] == [
            *(f"{DAGS_FOLDER}/{name}" for name in FILES),
            "/opt/airflow/plugins",
        ]
    assert "kubernetes" not in own().values["workers"]


def test_an_empty_list_for_workers_pods_leaves_the_labs(own: Trial) -> None:
    empty: dict[str, Any] = {"workers": {"kubernetes": {"env": [], "extraVolumeMounts": None}}}

    assert own(empty).values["workers"]["env"] == own().values["workers"]["env"]
    assert not any(own(empty).values["workers"]["kubernetes"].values())


def test_extra_variables_may_be_a_template_that_helm_alone_can_read(own: Trial) -> None:
    text = "{{- if true }}\n- name: MINE\n  value: {{ .Release.Name }}\n{{- end }}\n"

    found = own({"extraEnv": text}).values["extraEnv"]

    assert yaml.safe_load(found.partition("{{-")[0])[0]["name"] == "PGAPPNAME"
    assert found.endswith(text)
    assert "extraEnv[PGAPPNAME]" in own.refused({"extraEnv": text.replace("MINE", "PGAPPNAME")})
    quoted = own({"extraEnv": "- {name: MINE, value: '{{ .Release.Name }}'}"})
    assert names(yaml.safe_load(quoted.values["extraEnv"])) == ["PGAPPNAME", "MINE"]


def test_extra_variables_that_are_no_list_are_told(own: Trial) -> None:
    assert "extraEnv in" in own.refused({"extraEnv": "A=1"})


def test_without_a_chart_keys_are_not_looked_into_but_claims_are(tmp_path: Path) -> None:
    own = Trial(tmp_path, None)

    assert own({"unheard": 1}).values["unheard"] == 1
    assert "executor is 'CeleryExecutor'" in own.refused({"executor": "CeleryExecutor"})
    assert "not taken" in own({"pgbouncer": {"enabled": True}}).notes[0]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        accept([tmp_path / "none.yaml"], LAB, None)
