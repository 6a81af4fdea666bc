"""The boot of a lab on a Kubernetes cluster, step by step: its namespace, our parts, the release.

namespace -- Postgres <-- proxy <-- Airflow's chart: schedulers, API server, DAG processor
    ^           ^           ^              ^
    '-----------'--port-forwards on loopback, held by this process
"""

import logging
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import yaml
from kubernetes import client as kubernetes_client
from kubernetes.client.exceptions import ApiException
from psycopg import sql
from psycopg.conninfo import make_conninfo

from common.errors import UserError
from lab.kind.cluster import Cluster
from lab.kind.helm import pgbouncer
from lab.kind.helm.chart import inspect
from lab.kind.helm.release import Install
from lab.kind.helm.render import render, require_components
from lab.kind.helm.values import merged
from lab.kind.tools import find
from lab.kube import manifests, names, namespaces
from lab.kube.client import api_client
from lab.kube.readiness import waiting
from lab.kube.ways import Ways
from lab.ready import Readiness
from lab.spec import Deployment, LabSpec
from lab.state import LabState, Progress

log = logging.getLogger(__name__)

_RELEASE_TIMEOUT = 900.0
_PARTS_TIMEOUT = 180.0
_LOOK_EVERY = 1.0


class DeployBoot:
    """Deploys one lab; what it made outside this process is a namespace and nothing else."""

    end_seconds = 150.0  # a namespace goes when its last pod is gone

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None:
        assert spec.deployment is not None
        self.directory = directory
        self.spec = spec
        self.state = state
        self._progress = Progress(directory, state)
        self.deployment: Deployment = spec.deployment
        self.namespace = names.namespace_of(directory)
        self.kubeconfig = directory / "kubeconfig"
        self._ways = Ways()
        self._install: Install | None = None

    def steps(self) -> Iterator[None]:
        """Deploy, yielding often, so that the caller can listen; UserError when a part fails."""
        for folder in ("logs", "pods"):
            (self.directory / folder).mkdir(exist_ok=True)
        self.kubeconfig.touch(0o600)
        shutil.copyfile(self.deployment.kubeconfig, self.kubeconfig)
        self._client = api_client(self.kubeconfig)
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
        endpoints["postgres"] = self._forward(f"app={names.POSTGRES}", names.POSTGRES_PORT)
        endpoints["control"] = self._forward(f"app={names.PROXY}", names.CONTROL_PORT)
        self._follow(f"app in ({names.POSTGRES},{names.PROXY})")
        yield
        self._create_database(superuser, password)

    def _create(self, superuser: str, password: str) -> None:
        core = kubernetes_client.CoreV1Api(self._client)
        apps = kubernetes_client.AppsV1Api(self._client)
        try:
            core.create_namespace(manifests.namespace(self.namespace))
            for config_map in manifests.config_maps():
                core.create_namespaced_config_map(self.namespace, config_map)
            for secret in self._secrets(superuser, password):
                core.create_namespaced_secret(self.namespace, secret)
            ports = {"postgres": names.POSTGRES_PORT}
            core.create_namespaced_service(self.namespace, manifests.service(names.POSTGRES, ports))
            ports["control"] = names.CONTROL_PORT
            core.create_namespaced_service(self.namespace, manifests.service(names.PROXY, ports))
            postgres = manifests.postgres(self.deployment.postgres_image)
            apps.create_namespaced_stateful_set(self.namespace, postgres)
            proxy = manifests.proxy(self.spec.airflow.image, self._upstream())
            apps.create_namespaced_deployment(self.namespace, proxy)
        except ApiException as error:
            raise UserError(f"The cluster refuses the lab's parts: {_reason(error)}") from error

    def _upstream(self) -> str:
        """Return what the proxy leads to: Postgres, or the PgBouncer in front of it."""
        if "pgbouncer" in self.deployment.layers:
            return f"{names.RELEASE}-pgbouncer:{pgbouncer.PORT}"
        return f"{names.POSTGRES}:{names.POSTGRES_PORT}"

    def _secrets(self, superuser: str, password: str) -> list[manifests.Manifest]:
        found = manifests.secrets(password, superuser)
        if "pgbouncer" in self.deployment.layers:
            extra = pgbouncer.secrets(names.POSTGRES, "airflow", password, "airflow")
            found += [manifests.secret(name, data) for name, data in extra.items()]
        return found

    def _create_database(self, superuser: str, password: str) -> None:
        """Make Airflow's role and database: an ordinary role, unlike the image's POSTGRES_USER."""
        port = self.state.endpoints["postgres"]
        conninfo = make_conninfo(
            host="127.0.0.1", port=port, user="postgres", dbname="postgres", password=superuser
        )
        with psycopg.connect(conninfo, autocommit=True, connect_timeout=20) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE airflow LOGIN PASSWORD {}").format(sql.Literal(password))
            )
            connection.execute("CREATE DATABASE airflow OWNER airflow")

    def _forward(self, selector: str, port: int) -> int:
        return self._ways.forward(self._client, self.namespace, selector, port)

    def _follow(self, selector: str) -> None:
        self._ways.follow(self._client, self.namespace, selector, self.directory / "logs")

    def _waiting(self, timeout: float) -> Iterator[None]:
        core = kubernetes_client.CoreV1Api(self._client)
        for _ in waiting(core, self.namespace, timeout, self._progress.say):
            looked = time.monotonic()
            while time.monotonic() < looked + _LOOK_EVERY:
                yield

    def _start_airflow(self) -> Iterator[None]:
        values = merged(
            self.spec.airflow.version,
            schedulers=self.spec.schedulers,
            image=self.spec.airflow.image,
            layers=self.deployment.layers,
            env=self.spec.env,
            dag_files=list(manifests.dag_files()),
            extra=[Path(path) for path in self.deployment.values],
        )
        rendered = render(
            find("helm"), inspect(Path(self.deployment.chart)), values, self.namespace
        )
        require_components(rendered, values)
        yield
        path = self.directory / "values.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        self._install = Install(
            self.deployment.chart, self.namespace, path, self.kubeconfig, self.directory / "logs"
        )
        self._install.start()
        self._follow("tier=airflow,kubernetes_executor!=True")
        while not self._install.done():
            yield
        yield from self._waiting(_RELEASE_TIMEOUT)

    def _until_ready(self, timeout: float = 300.0) -> Iterator[None]:
        endpoints = self.state.endpoints
        endpoints["api"] = self._forward("component=api-server", names.API_PORT)
        readiness = Readiness(f"http://127.0.0.1:{endpoints['api']}", self._dsn(), self.spec)
        deadline = time.monotonic() + timeout
        while missing := readiness.missing():
            if time.monotonic() > deadline:
                raise UserError(f"The lab was not ready after {timeout:.0f} s: {missing}.")
            self._progress.say(missing)
            yield

    def _dsn(self) -> str:
        endpoints: dict[str, Any] = self.state.endpoints
        return make_conninfo(
            host="127.0.0.1",
            port=endpoints["postgres"],
            user="airflow",
            dbname="airflow",
            password=endpoints["password"],
        )

    def answer(self, request: dict[str, Any]) -> None:
        """Refuse: who uses the lab asks the cluster itself."""
        raise UserError(f"a deployed lab's supervisor knows no operation {request['op']!r}")

    def reap(self) -> None:
        """Do nothing: what ends in a cluster is told by its API."""

    def stop(self) -> None:
        """Close the port-forwards and delete the namespace; what stays is for the reaper."""
        if self._install is not None:
            self._install.stop()
        self._ways.close()
        if self.kubeconfig.exists():
            try:
                namespaces.remove(self.kubeconfig, self.namespace)
            except UserError as error:
                log.warning("%s", error)

    @staticmethod
    def clear(directory: Path, spec: LabSpec) -> None:
        """Remove the namespace of a lab whose supervisor was killed, where its cluster is up."""
        kubeconfig, deployment = directory / "kubeconfig", spec.deployment
        if deployment and kubeconfig.exists() and Cluster(deployment.cluster).nodes():
            namespaces.remove(kubeconfig, names.namespace_of(directory))


def _reason(error: ApiException) -> str:
    return f"{error.status} {error.reason}: {str(error.body or '')[:300]}"
