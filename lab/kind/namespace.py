"""What is put into a lab's namespace beside the chart's own: Postgres, the proxy, DAGs, secrets."""

from pathlib import Path
from typing import Any

from common.paths import PROJECT
from lab.kind.helm import command
from lab.kube import names

_PROXY_FILES = ("lab/dbproxy/__init__.py", "lab/dbproxy/__main__.py", "lab/dbproxy/link.py")
_PROXY_HOME = "/opt/ha-chaos"

Manifest = dict[str, Any]


def _labels(app: str) -> dict[str, str]:
    return {"app": app, **names.MANAGED_BY}


def namespace(name: str) -> Manifest:
    """Return the lab's namespace."""
    return {"metadata": {"name": name, "labels": dict(names.MANAGED_BY)}}


def dag_files() -> dict[str, str]:
    """Return the files that Airflow must find in its DAG folder, by name."""
    return {name: (PROJECT / "dags" / name).read_text() for name in command.dag_files()}


def config_maps() -> list[Manifest]:
    """Return the ConfigMaps: DAGs, the proxy's code, and what worker pods look up."""
    code = {Path(name).name: (PROJECT / name).read_text() for name in _PROXY_FILES}
    maps = {
        names.DAGS: dag_files(),
        names.PROXY_CODE: code,
        names.WORKER: {names.START_DELAY: "0"},
    }
    return [{"metadata": {"name": name}, "data": data} for name, data in maps.items()]


def secrets(password: str, superuser_password: str) -> list[Manifest]:
    """Return the Secrets; no password stands anywhere else.

    The ledger goes straight to Postgres: what cuts or slows Airflow's links must not touch the
    witness of it.
    """
    place = f"airflow:{password}@{names.PROXY}:{names.POSTGRES_PORT}/airflow"
    ledger = (
        f"host={names.POSTGRES} port={names.POSTGRES_PORT} dbname=airflow user=airflow "
        f"password={password}"
    )
    contents = {
        names.METADATA: {"connection": f"postgresql://{place}"},
        names.LEDGER: {"dsn": ledger},
        names.POSTGRES: {"password": superuser_password},
    }
    return [secret(name, data) for name, data in contents.items()]


def secret(name: str, data: dict[str, str]) -> Manifest:
    """Return one Secret."""
    return {"metadata": {"name": name}, "stringData": data}


def service(name: str, ports: dict[str, int]) -> Manifest:
    """Return a Service in front of the pods of one of our own parts."""
    return {
        "metadata": {"name": name, "labels": _labels(name)},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": port, "port": number} for port, number in ports.items()],
        },
    }


def postgres(image: str) -> Manifest:
    """Return PostgreSQL, as the official image runs it.

    Its data lasts as long as the pod: a restarted server finds it again. Commit times order the
    history (oracle.recorder_database); the superuser is not the role that Airflow uses, since
    row-level security does not bind superusers.
    """
    password = {"secretKeyRef": {"name": names.POSTGRES, "key": "password"}}
    container = {
        "name": "postgres",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            *("-c", "track_commit_timestamp=on", "-c", "max_connections=300"),
            *("-c", "log_lock_waits=on", "-c", "log_line_prefix=%m [%p] %a "),
        ],
        "env": [
            {"name": "POSTGRES_PASSWORD", "valueFrom": password},
            {"name": "PGDATA", "value": "/var/lib/postgresql/data/pg"},
        ],
        "ports": [{"containerPort": names.POSTGRES_PORT}],
        "readinessProbe": {
            "exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-U", "postgres"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 30,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
    }
    return {
        "metadata": {"name": names.POSTGRES, "labels": _labels(names.POSTGRES)},
        "spec": {
            "serviceName": names.POSTGRES,
            "replicas": 1,
            "selector": {"matchLabels": {"app": names.POSTGRES}},
            "template": {
                "metadata": {"labels": _labels(names.POSTGRES)},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                    "terminationGracePeriodSeconds": 2,
                    "automountServiceAccountToken": False,
                },
            },
        },
    }


def proxy(image: str, upstream: str) -> Manifest:
    """Return the latency proxy: our module in Airflow's image, so we need no image of ours."""
    mounts = [
        {"name": "code", "mountPath": f"{_PROXY_HOME}/{name}", "subPath": Path(name).name}
        for name in _PROXY_FILES
    ]
    command = [
        *("python3", "-m", "lab.dbproxy", "--listen", f"0.0.0.0:{names.POSTGRES_PORT}"),
        *("--upstream", upstream),
        *("--control", f"0.0.0.0:{names.CONTROL_PORT}"),
    ]
    container = {
        "name": "dbproxy",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [
            {"name": "PYTHONPATH", "value": _PROXY_HOME},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
        ],
        "ports": [{"containerPort": names.POSTGRES_PORT}, {"containerPort": names.CONTROL_PORT}],
        "readinessProbe": {"tcpSocket": {"port": names.CONTROL_PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "volumeMounts": mounts,
    }
    return {
        "metadata": {"name": names.PROXY, "labels": _labels(names.PROXY)},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": names.PROXY}},
            "template": {
                "metadata": {"labels": _labels(names.PROXY)},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "code", "configMap": {"name": names.PROXY_CODE}}],
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                },
            },
        },
    }
