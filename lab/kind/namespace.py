"""A lab's namespace on a kind cluster: what it is called, what stands in it, how it goes.

Beside what the chart makes of Airflow, these are Postgres and the proxy (namespace.yaml), the DAGs
and the secrets.
"""

import base64
import logging
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

import kubernetes
import yaml
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from common.paths import PROJECT
from common.waiting import until
from lab.kind import owndags
from lab.kind.helm.values import DAGS_VOLUME, dag_files
from lab.kube.client import api_client

log = logging.getLogger(__name__)

MANAGED_BY = {"app.kubernetes.io/managed-by": "airflow-ha-chaos"}
POSTGRES = "ha-chaos-postgres"
PROXY = "ha-chaos-dbproxy"
WORKER = "ha-chaos-worker"
START_DELAY = "start_delay"
POSTGRES_PORT = 5432
CONTROL_PORT = 8474

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
_PARTS = Path(__file__).with_suffix(".yaml")

Manifest = dict[str, Any]


def namespace_of(directory: Path) -> str:
    """Return the namespace of the lab in a folder: it can be told when nothing else is known."""
    return f"ha-chaos-{directory.name.rsplit('-', 1)[1]}"


def manifests(
    name: str,
    *,
    airflow_image: str,
    postgres_image: str,
    password: str,
    superuser_password: str,
    pooler: str = "",
    own_dags: str = "",
) -> list[Manifest]:
    """Return the namespace and what must stand in it before Airflow does, in the order to make it.

    `pooler` is the PgBouncer through which Airflow goes, where the release has one; `own_dags` is
    the folder of a user's DAGs, which are there in the place of ours.
    """
    secrets = _secrets(password, superuser_password)
    if pooler:
        secrets |= _pgbouncer_secrets(password)
    filled = Template(_PARTS.read_text()).substitute(
        namespace=name,
        airflow_image=airflow_image,
        postgres_image=postgres_image,
        upstream=f"{pooler}:{_PGBOUNCER_PORT}" if pooler else f"{POSTGRES}:{POSTGRES_PORT}",
    )
    namespace, *others = yaml.safe_load_all(filled)
    return [
        namespace,
        _dags(own_dags),
        _holding("ConfigMap", f"{PROXY}-code", data=_texts((PROJECT / "lab/dbproxy").glob("*.py"))),
        *(_holding("Secret", each, stringData=data) for each, data in secrets.items()),
        *others,
    ]


def _holding(kind: str, name: str, **data: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **data}


def _dags(own: str) -> Manifest:
    """Return the ConfigMap of our DAGs' files, or of the archive of a user's own folder of them."""
    if not own:
        files = (PROJECT / "dags" / name for name in dag_files())
        return _holding("ConfigMap", DAGS_VOLUME, data=_texts(files))
    packed = base64.b64encode(owndags.archive(Path(own))).decode()
    return _holding("ConfigMap", DAGS_VOLUME, binaryData={owndags.ARCHIVE: packed})


def _texts(paths: Iterable[Path]) -> dict[str, str]:
    return {path.name: path.read_text() for path in paths}


def _secrets(password: str, superuser_password: str) -> dict[str, dict[str, str]]:
    """Return the contents of the Secrets; no password stands anywhere else.

    The ledger goes straight to Postgres: what cuts or slows Airflow's links must not touch the
    witness of it.
    """
    place = f"airflow:{password}@{PROXY}:{POSTGRES_PORT}/airflow"
    ledger = f"host={POSTGRES} port={POSTGRES_PORT} dbname=airflow user=airflow password={password}"
    return {
        "ha-chaos-metadata": {"connection": f"postgresql://{place}"},
        "ha-chaos-ledger": {"dsn": ledger},
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


def remove(kubeconfig: Path, name: str, timeout: float = 120.0) -> None:
    """Delete a namespace and wait until it is gone; fine when there is none.

    Raises UserError when the cluster does not answer, or it is still there after `timeout` seconds.
    A namespace without our label is not ours to delete.
    """
    try:
        core = kubernetes.client.CoreV1Api(api_client(kubeconfig))
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
