"""A lab's namespace on a kind cluster: what it is called, what stands in it, how it goes.

Beside what the chart makes of Airflow, these are Postgres, the proxy, the DAGs and the secrets.
"""

import logging
from pathlib import Path
from typing import Any

from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from psycopg.conninfo import make_conninfo
from urllib3.exceptions import HTTPError

from common.errors import UserError
from common.paths import PROJECT
from common.waiting import until
from lab.kind.helm.values import dag_files
from lab.kube.client import api_client

log = logging.getLogger(__name__)

MANAGED_BY = {"app.kubernetes.io/managed-by": "airflow-ha-chaos"}
POSTGRES = "ha-chaos-postgres"
PROXY = "ha-chaos-dbproxy"
WORKER = "ha-chaos-worker"
START_DELAY = "start_delay"
POSTGRES_PORT = 5432
CONTROL_PORT = 8474

_DAGS = "ha-chaos-dags"
_PROXY_CODE = "ha-chaos-dbproxy-code"
_METADATA = "ha-chaos-metadata"
_LEDGER = "ha-chaos-ledger"
_PGBOUNCER = "ha-chaos-pgbouncer"
_PGBOUNCER_PORT = 6543
_POOL = 200
_PGBOUNCER_INI = f"""\
[databases]
airflow = host={POSTGRES} port={POSTGRES_PORT} dbname=airflow pool_size={_POOL}

[pgbouncer]
pool_mode = session
listen_addr = *
listen_port = {_PGBOUNCER_PORT}
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/users.txt
stats_users = airflow
ignore_startup_parameters = extra_float_digits
max_client_conn = 1000
server_tls_sslmode = disable
"""

_GONE = 404
_PROXY_FILES = ("lab/dbproxy/__init__.py", "lab/dbproxy/__main__.py", "lab/dbproxy/link.py")
_PROXY_HOME = "/opt/ha-chaos"

Manifest = dict[str, Any]


def _labels(app: str) -> dict[str, str]:
    return {"app": app, **MANAGED_BY}


def namespace_of(directory: Path) -> str:
    """Return the namespace of the lab in a folder: it can be told when nothing else is known."""
    return f"ha-chaos-{directory.name.rsplit('-', 1)[1]}"


def conninfo(endpoints: dict[str, Any]) -> str:
    """Return libpq conninfo of the metadata database, as its ordinary owner, past the proxy."""
    return make_conninfo(
        host="127.0.0.1",
        port=endpoints["postgres"],
        user="airflow",
        dbname="airflow",
        password=endpoints["password"],
        application_name="ha-chaos",
    )


def manifests(
    name: str,
    *,
    airflow_image: str,
    postgres_image: str,
    password: str,
    superuser_password: str,
    pooler: str = "",
) -> list[Manifest]:
    """Return the namespace and what must stand in it before Airflow does, in the order to make it.

    `pooler` is the PgBouncer through which Airflow goes, where the release has one.
    """
    secrets = _secrets(password, superuser_password)
    if pooler:
        secrets |= _pgbouncer_secrets(password)
    upstream = f"{pooler}:{_PGBOUNCER_PORT}" if pooler else f"{POSTGRES}:{POSTGRES_PORT}"
    ports = {"postgres": POSTGRES_PORT}
    return [
        _manifest("Namespace", name, labels=MANAGED_BY),
        *(_manifest("ConfigMap", each, data=data) for each, data in _config_maps().items()),
        *(_manifest("Secret", each, stringData=data) for each, data in secrets.items()),
        _service(POSTGRES, ports),
        _service(PROXY, ports | {"control": CONTROL_PORT}),
        _postgres(postgres_image),
        _proxy(airflow_image, upstream),
    ]


def _manifest(kind: str, name: str, labels: dict[str, str] | None = None, **parts: Any) -> Manifest:
    version = "apps/v1" if kind in ("Deployment", "StatefulSet") else "v1"
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


def _config_maps() -> dict[str, dict[str, str]]:
    """Return the contents of the ConfigMaps: DAGs, the proxy's code, what worker pods look up."""
    return {
        _DAGS: {name: (PROJECT / "dags" / name).read_text() for name in dag_files()},
        _PROXY_CODE: {Path(name).name: (PROJECT / name).read_text() for name in _PROXY_FILES},
        WORKER: {START_DELAY: "0"},
    }


def _secrets(password: str, superuser_password: str) -> dict[str, dict[str, str]]:
    """Return the contents of the Secrets; no password stands anywhere else.

    The ledger goes straight to Postgres: what cuts or slows Airflow's links must not touch the
    witness of it.
    """
    place = f"airflow:{password}@{PROXY}:{POSTGRES_PORT}/airflow"
    ledger = f"host={POSTGRES} port={POSTGRES_PORT} dbname=airflow user=airflow password={password}"
    return {
        _METADATA: {"connection": f"postgresql://{place}"},
        _LEDGER: {"dsn": ledger},
        POSTGRES: {"password": superuser_password},
    }


def _pgbouncer_secrets(password: str) -> dict[str, dict[str, str]]:
    """Return the contents of the Secrets of PgBouncer in front of our PostgreSQL, by name.

    Session pooling, for holds and faults count on a session being one process'. The pool is as
    large as all of Airflow's pools together: a client that waited for a server session would be
    held by the test's own set-up. So PostgreSQL must admit more than `_POOL` connections.
    """
    stats = f"postgresql://airflow:{password}@127.0.0.1:{_PGBOUNCER_PORT}/pgbouncer"
    return {
        _PGBOUNCER: {"pgbouncer.ini": _PGBOUNCER_INI, "users.txt": f'"airflow" "{password}"\n'},
        f"{_PGBOUNCER}-stats": {"connection": f"{stats}?sslmode=disable"},
    }


def _service(name: str, ports: dict[str, int]) -> Manifest:
    """Return a Service in front of the pods of one of our own parts."""
    listed = [{"name": port, "port": number} for port, number in ports.items()]
    return _manifest(
        "Service", name, _labels(name), spec={"selector": {"app": name}, "ports": listed}
    )


def _postgres(image: str) -> Manifest:
    """Return PostgreSQL, as the official image runs it.

    Its data lasts as long as the pod: a restarted server finds it again. Commit times order the
    history (oracle.recorder_database); the superuser is not the role that Airflow uses, since
    row-level security does not bind superusers.
    """
    password = {"secretKeyRef": {"name": POSTGRES, "key": "password"}}
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
        "ports": [{"containerPort": POSTGRES_PORT}],
        "readinessProbe": {
            "exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-U", "postgres"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 30,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
    }
    volume = {"name": "data", "emptyDir": {}}
    return _workload("StatefulSet", POSTGRES, container, volume, serviceName=POSTGRES)


def _proxy(image: str, upstream: str) -> Manifest:
    """Return the latency proxy: our module in Airflow's image, so we need no image of ours."""
    mounts = [
        {"name": "code", "mountPath": f"{_PROXY_HOME}/{name}", "subPath": Path(name).name}
        for name in _PROXY_FILES
    ]
    command = [
        *("python3", "-m", "lab.dbproxy", "--listen", f"0.0.0.0:{POSTGRES_PORT}"),
        *("--upstream", upstream),
        *("--control", f"0.0.0.0:{CONTROL_PORT}"),
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
        "ports": [{"containerPort": POSTGRES_PORT}, {"containerPort": CONTROL_PORT}],
        "readinessProbe": {"tcpSocket": {"port": CONTROL_PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "volumeMounts": mounts,
    }
    volume = {"name": "code", "configMap": {"name": _PROXY_CODE}}
    return _workload("Deployment", PROXY, container, volume, strategy={"type": "Recreate"})


def _workload(kind: str, name: str, container: Any, volume: Any, **how: Any) -> Manifest:
    """Return one pod of one container and one volume, and what keeps it up."""
    pod = {
        "containers": [container],
        "volumes": [volume],
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": False,
    }
    template = {"metadata": {"labels": _labels(name)}, "spec": pod}
    selector = {"matchLabels": {"app": name}}
    spec = {"replicas": 1, "selector": selector, "template": template, **how}
    return _manifest(kind, name, _labels(name), spec=spec)


def remove(kubeconfig: Path, name: str, timeout: float = 120.0) -> None:
    """Delete a namespace and wait until it is gone; fine when there is none.

    Raises UserError when the cluster does not answer, or it is still there after `timeout` seconds.
    A namespace without our label is not ours to delete.
    """
    try:
        core = CoreV1Api(api_client(kubeconfig))
        found = core.read_namespace(name, _request_timeout=10)
        if not MANAGED_BY.items() <= (found.metadata.labels or {}).items():
            raise UserError(f"Namespace {name} was not made by a lab: it stays.")
        core.delete_namespace(name, _request_timeout=10)
        core.delete_collection_namespaced_pod(name, grace_period_seconds=0, _request_timeout=10)
        until(lambda: not core.read_namespace(name, _request_timeout=10), timeout, interval=0.3)
    except ApiException as error:
        if error.status == _GONE:
            log.info("Namespace %s is gone.", name)
            return
        raise UserError(f"Namespace {name} cannot be deleted: {error.reason}.") from error
    except (HTTPError, OSError) as error:
        raise UserError(f"The cluster of namespace {name} does not answer: {error}") from error
    raise UserError(f"Namespace {name} is still there after {timeout:.0f} s.")
