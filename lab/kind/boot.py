"""The boot of a lab on a Kubernetes cluster, step by step: its namespace, our parts, the release.

namespace -- Postgres <-- proxy <-- Airflow's chart: schedulers, API server, DAG processor
    ^           ^           ^              ^
    '-----------'--port-forwards on loopback, held by this process
"""

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import yaml
from kubernetes.client import CoreV1Api
from kubernetes.utils import FailToCreateError, create_from_dict
from psycopg import sql
from psycopg.conninfo import make_conninfo

from common.errors import UserError
from common.files import write_whole
from common.redaction import first_line
from common.waiting import Deadline
from lab.kind import namespace
from lab.kind.cluster import Cluster
from lab.kind.helm.chart import inspect
from lab.kind.helm.install import RELEASE, Install
from lab.kind.helm.own import accept
from lab.kind.helm.values import dag_files, lab_values
from lab.kube.boot import ReleaseBoot
from lab.kube.pods import API_PORT, DAEMONS
from lab.kube.readiness import waiting
from lab.ready import Readiness
from lab.spec import Deployment, LabSpec
from lab.state import LabState
from lab.supervised import conninfo

log = logging.getLogger(__name__)

_RELEASE_TIMEOUT = 900.0
_PARTS_TIMEOUT = 180.0
_LOOK_EVERY = 1.0


class KindBoot(ReleaseBoot):
    """Deploys one lab; what it made outside this process is a namespace and nothing else."""

    end_seconds = 150.0  # a namespace goes when its last pod is gone

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None:
        super().__init__(directory, spec, state)
        assert spec.deployment is not None
        self.deployment: Deployment = spec.deployment
        self.namespace = namespace.namespace_of(directory)
        self._install: Install | None = None

    def steps(self) -> Iterator[None]:
        """Deploy, yielding often, so that the caller can listen; UserError when a part fails."""
        self._begin(Path(self.deployment.kubeconfig).read_bytes())
        with self._progress.timed("namespace, Postgres and proxy"):
            yield from self._start_ours()
        with self._progress.timed("Helm release"):
            yield from self._start_airflow()
        with self._progress.timed("schedulers and DAGs"):
            yield from self._until_ready()
        self._progress.ready()

    def _start_ours(self) -> Iterator[None]:
        password, superuser = secrets.token_hex(16), secrets.token_hex(16)
        self.state.endpoints = {"namespace": self.namespace, "password": password}
        self.state.save(self.directory)
        self._create(superuser, password)
        yield from self._waiting(_PARTS_TIMEOUT)
        endpoints = self.state.endpoints
        endpoints["postgres"] = self._forward(f"app={namespace.POSTGRES}", namespace.POSTGRES_PORT)
        endpoints["control"] = self._forward(f"app={namespace.PROXY}", namespace.CONTROL_PORT)
        self._follow(f"app in ({namespace.POSTGRES},{namespace.PROXY})")
        yield
        self._create_database(superuser, password)

    def _create(self, superuser: str, password: str) -> None:
        parts = namespace.manifests(
            self.namespace,
            airflow_image=self.spec.airflow.image,
            postgres_image=self.deployment.postgres_image,
            password=password,
            superuser_password=superuser,
            pooler=f"{RELEASE}-pgbouncer" if "pgbouncer" in self.deployment.layers else "",
            own_dags=self.spec.dags,
        )
        try:
            for part in parts:
                create_from_dict(self._client, part, namespace=self.namespace)
        except FailToCreateError as error:
            reason = first_line(error.api_exceptions[0])
            body = str(error.api_exceptions[0].body or "")[:300]
            raise UserError(f"The cluster refuses the lab's parts: {reason} {body}") from error

    def _create_database(self, superuser: str, password: str) -> None:
        """Make Airflow's role and database: an ordinary role, unlike the image's POSTGRES_USER."""
        port = self.state.endpoints["postgres"]
        dsn = make_conninfo(
            host="127.0.0.1", port=port, user="postgres", dbname="postgres", password=superuser
        )
        role = sql.SQL("CREATE ROLE airflow LOGIN PASSWORD {}").format(sql.Literal(password))
        with psycopg.connect(dsn, autocommit=True, connect_timeout=20) as connection:
            connection.execute(role)
            connection.execute("CREATE DATABASE airflow OWNER airflow")

    def _waiting(self, timeout: float) -> Iterator[None]:
        for _ in waiting(CoreV1Api(self._client), self.namespace, timeout, self._progress.say):
            pause = Deadline(_LOOK_EVERY)
            while not pause.passed:
                yield

    def _start_airflow(self) -> Iterator[None]:
        lab = lab_values(
            self.spec.airflow.version,
            schedulers=self.spec.schedulers,
            triggerers=self.spec.triggerers,
            image=self.spec.airflow.image,
            layers=self.deployment.layers,
            env=self.spec.env,
            dag_files=dag_files(),
        )
        chart = inspect(Path(self.deployment.chart))
        values = accept([Path(path) for path in self.deployment.values], lab, chart).values
        yield
        path = self.directory / "values.yaml"
        write_whole(path, yaml.safe_dump(values, sort_keys=False), mode=0o600)  # somebody's secrets
        self._install = Install(
            self.deployment.chart, self.namespace, path, self.kubeconfig, self.directory / "logs"
        )
        self._install.start()
        self._follow(DAEMONS)
        while not self._install.done():
            yield
        yield from self._waiting(_RELEASE_TIMEOUT)

    def _until_ready(self, timeout: float = 300.0) -> Iterator[None]:
        endpoints = self.state.endpoints
        endpoints["api"] = self._forward("component=api-server", API_PORT)
        url = f"http://127.0.0.1:{endpoints['api']}"
        for missing in Readiness(url, conninfo(endpoints), self.spec).waiting(timeout):
            self._progress.say(missing)
            yield

    def stop(self) -> None:
        """Close the port-forwards and delete the namespace; what stays is for the reaper."""
        if self._install is not None:
            self._install.stop()
        self._close_tunnels()
        if self.kubeconfig.exists():
            try:
                namespace.remove(self.kubeconfig, self.namespace)
            except UserError as error:
                log.warning("%s", error)

    @staticmethod
    def clear(directory: Path, spec: LabSpec) -> None:
        """Remove the namespace of a lab whose supervisor was killed, where its cluster is up."""
        kubeconfig, deployment = directory / "kubeconfig", spec.deployment
        if deployment and kubeconfig.exists() and Cluster(deployment.cluster).nodes():
            namespace.remove(kubeconfig, namespace.namespace_of(directory))
