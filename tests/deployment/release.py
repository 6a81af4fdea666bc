"""Manifests as a cluster holds them: a release of the official chart, and what stands about it."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.deployment.standin import NAMESPACE, Manifest

CONFIG = "[core]\nexecutor = KubernetesExecutor\n"
URL = "postgresql://u:p%40ss@airflow-db:5432/airflow"
CONN = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

_COMPONENTS = ("api-server", "dag-processor")


def release(
    name: str = "airflow",
    config: str = CONFIG,
    env: Mapping[str, str] | None = None,
    *,
    url: str = URL,
    conn: Iterable[Manifest] | None = None,
    schedulers: int = 1,
    named: bool = False,
    namespace: str = NAMESPACE,
    **more: Any,
) -> list[Manifest]:
    """Return a release: its configuration, its database's Secret, a pod for each of its components.

    `env` are plain variables of all pods; `conn` are entries of `env` in place of the one by which
    the chart gives the URL. `named` gives PGAPPNAME as charts-values/identity.yaml does.
    `more` goes to each `component`.
    """
    if conn is None:
        conn = [from_secret(CONN, f"{name}-metadata", "connection")]
    variables = [*conn, *({"name": key, "value": value} for key, value in (env or {}).items())]
    if named:
        field = {"fieldRef": {"fieldPath": "metadata.name"}}
        variables.append({"name": "PGAPPNAME", "valueFrom": field})
    numbered = [("scheduler", n + 1) for n in range(schedulers)]
    return [
        config_map(f"{name}-config", {"airflow.cfg": config}, namespace),
        secret(f"{name}-metadata", {"connection": url}, namespace),
        *(
            component(
                name,
                what,
                number,
                variables,
                ip=f"10.1.{_COMPONENTS.index(what) + 1 if what in _COMPONENTS else 0}.{number}",
                namespace=namespace,
                **more,
            )
            for what, number in [*numbered, *((what, 1) for what in _COMPONENTS)]
        ),
    ]


def database(name: str = "airflow-db", namespace: str = NAMESPACE) -> list[Manifest]:
    """Return the pod NAME-0 and the Service of a database in the cluster."""
    labels = {"app": name}
    main = {"name": "postgresql", "ports": [{"name": "postgresql", "containerPort": 5432}]}
    return [
        pod(f"{name}-0", labels, [main], ip="10.1.8.1", namespace=namespace),
        service(name, labels, namespace=namespace),
    ]


def component(
    name: str,
    what: str,
    number: int,
    env: list[Manifest],
    *,
    ip: str,
    namespace: str,
    mounts: Iterable[tuple[Manifest, Manifest]] = (),
    env_from: Iterable[Manifest] = (),
    sidecars: Iterable[Manifest] = (),
) -> Manifest:
    """Return one pod of a component; `mounts` are pairs of a volume and where it is mounted."""
    pairs = [
        (
            {"name": "config", "configMap": {"name": f"{name}-config"}},
            {"name": "config", "mountPath": "/opt/airflow/airflow.cfg", "subPath": "airflow.cfg"},
        ),
        *mounts,
    ]
    main: Manifest = {
        "name": what,
        "image": "apache/airflow:3.0.6",
        "env": env,
        "envFrom": list(env_from),
        "volumeMounts": [mount for _, mount in pairs],
    }
    if what == "api-server":
        main["ports"] = [{"name": "api-server", "containerPort": 8080}]
    found = pod(
        f"{name}-{what}-{number}",
        {"tier": "airflow", "component": what, "release": name},
        [main, *sidecars],
        ip=ip,
        namespace=namespace,
    )
    found["spec"]["volumes"] = list({volume["name"]: volume for volume, _ in pairs}.values())
    return found


def pod(
    name: str,
    labels: Mapping[str, str],
    containers: Iterable[Manifest] = ({"name": "main", "image": "x"},),
    *,
    ip: str = "10.1.9.9",
    namespace: str = NAMESPACE,
    phase: str = "Running",
) -> Manifest:
    """Return a pod, ready where it runs."""
    containers = list(containers)
    state = {
        "Running": {"running": {"startedAt": "2026-11-28T20:00:00Z"}},
        "Succeeded": {"terminated": {"exitCode": 0, "reason": "Completed"}},
        "Failed": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }.get(phase, {"waiting": {"reason": "ContainerCreating"}})
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"containers": containers, "nodeName": "node-1"},
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": str(phase == "Running")}],
            "containerStatuses": [
                {
                    "name": each["name"],
                    "ready": phase == "Running",
                    "restartCount": 0,
                    "image": each.get("image", "x"),
                    "imageID": f"registry.example/{each['name']}@sha256:{'0' * 64}",
                    "containerID": f"containerd://{name}-{each['name']}",
                    "state": state,
                }
                for each in containers
            ],
        },
    }


def from_secret(variable: str, name: str, key: str) -> Manifest:
    """Return a variable of a container, from a Secret's key."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def secret(name: str, plain: Mapping[str, str], namespace: str = NAMESPACE) -> Manifest:
    """Return a Secret."""
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "Secret", "metadata": metadata, "stringData": dict(plain)}


def config_map(name: str, data: Mapping[str, str], namespace: str = NAMESPACE) -> Manifest:
    """Return a ConfigMap."""
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def service(
    name: str,
    selector: Mapping[str, str] | None = None,
    *,
    port: int = 5432,
    target: int | str | None = None,
    namespace: str = NAMESPACE,
    **spec: Any,
) -> Manifest:
    """Return a Service of one port; without a selector, somebody else writes its addresses."""
    ports = [{"name": "postgresql", "port": port, "targetPort": target or port}]
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "ports": ports, **spec}
        | ({"selector": dict(selector)} if selector else {}),
    }


def alias(name: str, to: str, namespace: str = NAMESPACE) -> Manifest:
    """Return a Service that is another name."""
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": to},
    }


def endpoints(
    name: str,
    address: str,
    *,
    of_pod: str = "",
    port: int = 5432,
    namespace: str = NAMESPACE,
    ready: bool = True,
) -> Manifest:
    """Return the addresses behind a Service, as whoever runs a database writes them."""
    at = {"ip": address, **_of_pod(of_pod, namespace)}
    return {
        "kind": "Endpoints",
        "metadata": {"name": name, "namespace": namespace},
        "subsets": [
            {
                "addresses" if ready else "notReadyAddresses": [at],
                "ports": [{"name": "postgresql", "port": port}],
            }
        ],
    }


def _of_pod(name: str, namespace: str) -> Manifest:
    """Return what says whose an address is, where it is a pod's."""
    return {"targetRef": {"kind": "Pod", "name": name, "namespace": namespace}} if name else {}


def endpoint_slice(
    service: str,
    address: str,
    *,
    of_pod: str = "",
    port: int = 5432,
    namespace: str = NAMESPACE,
    ready: bool = True,
) -> Manifest:
    """Return the same as an EndpointSlice, which has the Service's name as a label."""
    at = {
        "addresses": [address],
        "conditions": {"ready": ready},
        **_of_pod(of_pod, namespace),
    }
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-abc12",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [at],
        "ports": [{"name": "postgresql", "port": port}],
    }
