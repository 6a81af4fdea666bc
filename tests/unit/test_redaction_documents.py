"""Values and manifests are hidden by where a value stands; what was deployed stays readable."""

import json
from typing import Any

import pytest
import yaml

from common.documents import hide, redact_document, yaml_problem
from tests.canaries import ALL, canary, left, secret

Made = tuple[Any, list[str]]


class Maker:
    """Makes values that look like nothing, and remembers them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, before: str = "", after: str = "") -> str:
        """Return a word of small letters alone, which only its place makes a secret."""
        word = secret(str(len(self.made)), 9, "abcdefghijklmnopqrstuvwxyz")
        self.made.append(word)
        return before + word + after


def _values(new: Maker) -> dict[str, Any]:
    """Return values as platform teams keep them."""
    return {
        "data": {
            "metadataConnection": {"user": "airflow", "pass": new(), "host": "db.example"},
            "resultBackendConnection": {"pass": new(), "protocol": "postgresql"},
            "brokerUrl": new("redis://:", "@redis:6379/0"),
            "metadataSecretName": "kept-name",
        },
        "registry": {"connection": {"user": "robot", "pass": new(), "host": "harbor.example"}},
        "elasticsearch": {"connection": {"user": "elastic", "pass": new()}},
        "opensearch": {"connection": {"user": "me", "pass": new(), "host": "os.example"}},
        "fernetKey": new(),
        "webserverSecretKey": new(),
        "apiSecretKey": new(),
        "jwtSecret": new(),
        "kerberos": {"keytabBase64Content": new()},
        "pgbouncer": {"enabled": True, "ssl": {"key": new()}},
        "flower": {"username": "me", "password": new()},
        "redis": {"password": new()},
        "webserver": {"defaultUser": {"enabled": True, "username": "admin", "password": new()}},
        "dags": {
            "gitSync": {
                "repo": new("https://robot:", "@git.example/dags.git"),
                "sshKey": new(),
                "credentialsSecret": "kept-git",
                "branch": "main",
            }
        },
        "env": [
            {"name": "DBT_TARGET", "value": new()},
            {"name": "lower_case", "value": new()},
            {"name": "NUMBER", "value": 123456789},
            {"name": "TZ", "value": "Europe/Berlin"},
            {"name": "AIRFLOW__CORE__EXECUTOR", "value": "KubernetesExecutor"},
            {
                "name": "FROM",
                "valueFrom": {"secretKeyRef": {"name": "kept-ref", "key": "password"}},
            },
        ],
        "extraEnv": f"- name: SOME_THING\n  value: {new()}\n- name: OTHER\n  value: {new()}\n",
        "extraEnvFrom": "- secretRef:\n    name: kept-from\n",
        "scheduler": {"env": [{"name": "ANY", "value": new()}]},
        "workers": {
            "env": [{"name": "ANY", "value": new()}],
            "kubernetes": {"env": [{"name": "ANY", "value": new()}], "replicas": 3},
        },
        "extraSecrets": {
            "one": {"data": f"connection: {new()}\nother: {new()}\n", "type": "Opaque"},
            "two": {"stringData": f"anything: {new()}\n"},
            "three": {"stringData": {"x": new(), "y": {"z": new()}}},
            "templated": {"stringData": "{{ if .Values.x }}\nx: " + new() + "\n{{ end }}\n"},
        },
        "extraConfigMaps": {"four": {"data": "x.cfg: |\n  password = " + new() + "\n"}},
        "config": {
            "core": {"executor": "KubernetesExecutor", "asset_manager_kwargs": new()},
            "celery": {"flower_basic_auth": new("admin:"), "worker_concurrency": 16},
            "secrets": {"backend": "kept.Backend", "backend_kwargs": {"role": new()}},
            "sentry": {"sentry_dsn": new("https://", "@o1.example/42")},
            "smtp": {"smtp_password": new(), "smtp_user": "me"},
            "opensearch": {"username": new(), "host": "os.example"},
        },
        "ingress": {"web": {"annotations": {"x/auth-token": new()}, "tls": {"secretName": "kept"}}},
    }


def _pod(new: Maker) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kept-pod", "labels": {"dag_id": "kept-dag"}},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "base",
                    "image": "apache/airflow:3.0.6",
                    "args": ["--password", new(), "--verbose", "kept", new("--token=")],
                    "command": ["bash", "-c", new("export PASSWORD=")],
                    "env": [{"name": "ANY_THING", "value": new()}],
                }
            ],
            "volumes": [
                {"name": "kept", "secret": {"secretName": "kept-secret", "items": []}},
                {
                    "name": "t",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "kept"}}]},
                },
            ],
        },
    }


def _kubeconfig(new: Maker) -> dict[str, Any]:
    login = {
        "token": new(),
        "password": new(),
        "client-key-data": new(),
        "exec": {
            "command": "kept-exec",
            "args": ["--client-secret", new()],
            "env": [{"name": "X", "value": new()}],
        },
        "auth-provider": {"config": {"id-token": new(), "refresh-token": new()}},
    }
    cluster = {"server": "https://kept.example:6443"}
    return {"kind": "Config", "clusters": [{"cluster": cluster}], "users": [{"user": login}]}


def _secrets(new: Maker) -> dict[str, Any]:
    one = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kept"}, "data": {"x": new()}}
    return {"kind": "List", "items": [one, one | {"stringData": {"y": new()}}]}


def _others(new: Maker) -> dict[str, Any]:
    return {
        "auths": {"registry.example": {"auth": new(), "username": "kept"}},
        "connection": {"conn_type": "kept", "login": "kept", "extra": {"anything": new()}},
        "airflow": {"config": {"AIRFLOW__SOMEBODY__X": new(), "AIRFLOW__CORE__PARALLELISM": "32"}},
        "container": {"environment": {"ANY": new(), "TZ": "UTC"}},
        "secret": {"nested": {"list": [new(), {"x": new()}], "none": None, "on": True}},
        "token": 123456789,
    }


DOCUMENTS = {
    "values": _values,
    "an umbrella chart's values": lambda new: {"global": {"x": 1}, "airflow": _values(new)},
    "pod": _pod,
    "kubeconfig": _kubeconfig,
    "secrets": _secrets,
    "others": _others,
}


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_secret_is_left_of_a_document(name: str, form: str) -> None:
    new = Maker()
    data = json.loads(json.dumps(DOCUMENTS[name](new)))
    text = json.dumps(data) if form == "json" else yaml.safe_dump(data, sort_keys=False)
    kept = redact_document(text)
    assert new.made
    assert all(word in text for word in new.made)
    assert [word for word in new.made if word in kept] == []
    assert "123456789" not in kept
    assert kept.count("kept") == text.count("kept")
    yaml.safe_load(kept)


def test_what_was_deployed_stays_readable() -> None:
    kept = yaml.safe_load(redact_document(yaml.safe_dump(_values(Maker()))))
    assert kept["data"]["metadataConnection"] == {
        "user": "airflow",
        "pass": "***",
        "host": "db.example",
    }
    assert kept["env"][3:5] == _values(Maker())["env"][3:5]
    assert kept["env"][5]["valueFrom"]["secretKeyRef"] == {"name": "kept-ref", "key": "password"}
    assert kept["config"]["core"]["executor"] == "KubernetesExecutor"
    assert kept["config"]["celery"] == {"flower_basic_auth": "***", "worker_concurrency": 16}
    assert kept["dags"]["gitSync"]["repo"] == "https://***@git.example/dags.git"
    assert kept["pgbouncer"]["enabled"] is True
    assert yaml.safe_load(kept["extraEnv"])[0] == {"name": "SOME_THING", "value": "***"}


HARMLESS = {
    "airflowVersion": "3.0.6",
    "defaultAirflowTag": "3.0.6-python3.12",
    "images": {"airflow": {"digest": "sha256:0123456789abcdefABCDEF0123456789abcdef"}},
    "fernetKeySecretName": "my-fernet",
    "data": {"metadataSecretName": "ha-chaos-metadata"},
    "password_file": "/run/secrets/pw",
    "registry": {"secretName": "pull"},
    "postgresql": {"enabled": False, "auth": {"enablePostgresUser": True, "existingSecret": "pg"}},
    "scheduler": {"replicas": 2, "command": None, "args": ["bash", "-c", "exec airflow scheduler"]},
    "password": None,
    "token": "",
    "jwtSecret": None,
    "ports": {"airflowUI": 8080, "host": "127.0.0.1:5432"},
    "podTemplate": "spec:\n  containers:\n  - name: base\n    image: apache/airflow:3.0.6\n",
    "labels": {"dag_id": "my_dag_0123456789", "run_id": "manual__2026-11-22@me"},
    "env": [{"name": "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE", "value": "airflow"}],
}


def test_a_document_without_secrets_stays_as_it_is() -> None:
    assert hide(HARMLESS) == HARMLESS
    text = "# why: a comment\n" + yaml.safe_dump(HARMLESS)
    assert redact_document(text) == text


@pytest.mark.parametrize("kind", ALL)
def test_whatever_stands_under_any_key_is_redacted_as_text(kind: str) -> None:
    made = canary(kind, "document")
    for data in (
        {"note": made.text},
        {"list": [made.text]},
        {"a": {"notes.txt": f"x\n{made.text}"}},
    ):
        for text in (yaml.safe_dump(data), json.dumps(data)):
            assert left([redact_document(text)], [made]) == []


@pytest.mark.parametrize(
    "text",
    [
        "not: [yaml",
        "just words, password=hunter2-x",
        "a: b\n---\n- c: {{ d }}",
        "",
        "12",
        "a: &a [*a]",
    ],
)
def test_a_text_that_is_no_document_is_redacted_as_text(text: str) -> None:
    assert redact_document(text) == text.replace("hunter2-x", "***")


def test_several_documents_stay_several() -> None:
    new = Maker()
    kept = redact_document(f"a: 1\n---\npassword: {new()}\n---\nb: 2\n")
    assert [*yaml.safe_load_all(kept)] == [{"a": 1}, {"password": "***"}, {"b": 2}]


def test_a_random_word_is_a_token_wherever_it_stands() -> None:
    token = secret("token", 30) + "aB3"
    assert hide({"anything": token, "image": token, "x": "KubernetesExecutor"}) == {
        "anything": "***",
        "image": token,
        "x": "KubernetesExecutor",
    }


@pytest.mark.parametrize("text", ["a: b\nthing: hunter2: x", "- hunter2\nx: 1", "a: [hunter2"])
def test_what_is_no_yaml_is_said_without_its_text(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as raised:
        yaml.safe_load(text)
    assert "hunter2" not in yaml_problem(raised.value)
    assert yaml_problem(raised.value).startswith("line ")
