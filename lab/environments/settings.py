"""The settings under which Airflow's daemons run as plain processes against one lab.

Everything not named here is Airflow's default: a promise kept only under odd settings is none.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.base import Airflow

NAMESPACE = "airflow"
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Endpoints:
    """Where a lab's parts listen, on loopback; and the secrets that its parts share."""

    postgres: int
    proxy: int
    control: int
    api: int
    kubernetes: str
    password: str
    secret: str


def clean_environment(airflow: Airflow, home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the caller's Airflow, Python or venv leaks."""
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env["PATH"] = f"{airflow.python.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["HOME"] = str(home)
    env["AIRFLOW_HOME"] = str(home)
    env["PYTHONUNBUFFERED"] = "1"
    env["TMPDIR"] = str(home.parent / "tmp")
    env["NO_PROXY"] = env["no_proxy"] = "127.0.0.1,localhost"
    if airflow.pythonpath:
        env["PYTHONPATH"] = os.pathsep.join(str(path) for path in airflow.pythonpath)
    return env


def airflow_settings(at: Endpoints, home: Path, dags: Path) -> dict[str, str]:
    """Return the AIRFLOW__ variables that all components of a lab share, each with its reason."""
    return {**_what_it_is(at, home, dags), **_where_it_is(at, home), **_ROOM}


# Limits that a machine on which one server does everything would meet, and a deployment would not.
_ROOM = {
    # The API server's default pool (5 + 10) collapses above some 15 concurrent worker calls, where
    # one API server serves every worker.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "20",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "20",
    # Airflow's default is 32 a scheduler: a fan-out of 45, as apache/airflow#57618's reporter has,
    # would wait for slots of the executor, where only the pool's 128 are meant to be the limit.
    "AIRFLOW__CORE__PARALLELISM": "200",
}


def _what_it_is(at: Endpoints, home: Path, dags: Path) -> dict[str, str]:
    """Return what makes it a lab: this executor, our DAGs and no others, at work at once."""
    return {
        "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Of an error of the database the API tells nothing else, and its own log has it not either.
        "AIRFLOW__API__EXPOSE_STACKTRACE": "True",
        # Nobody is there to switch them on.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # Nor to log in; it listens on loopback only.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__SECRET_KEY": at.secret,
        # 3.0 reads the secret here, if it is nowhere else.
        "AIRFLOW__WEBSERVER__SECRET_KEY": at.secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": at.secret,
        # The kubelet supplies what else a worker needs.
        "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": str(home / "pod_template.yaml"),
        # Nothing is told to anybody about a test run.
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


FIXED = frozenset(
    {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__API__BASE_URL",
        "AIRFLOW__API__PORT",
        "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE",
        "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER",
        "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE",
        "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    }
)
"""What nobody but the lab can set: where its own parts are. Another value would lead Airflow to a
database, a cluster or files that are not the lab's."""


def _where_it_is(at: Endpoints, home: Path) -> dict[str, str]:
    """Return the addresses, which differ from lab to lab, and where logs go."""
    return {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{at.api}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{at.api}",
        "AIRFLOW__API__PORT": str(at.api),
        "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": NAMESPACE,
        "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
        "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE": str(home.parent / "kubeconfig"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dags"),
    }


def write_pod_template(path: Path) -> None:
    """Write the worker pod's template; the kubelet supplies Airflow's settings."""
    container = {
        "name": "base",
        "image": "airflow-worker",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [
            {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    }
    template = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "template"},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
        },
    }
    path.write_text(yaml.safe_dump(template, sort_keys=False))


def write_passfile(path: Path, at: Endpoints) -> None:
    """Write a libpq password file, so that no password need be on a command line."""
    path.touch(0o600)
    path.write_text(f"127.0.0.1:{at.postgres}:*:*:{at.password}\n")
