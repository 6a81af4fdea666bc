"""Whether what a chart made of some values is the lab that was asked for, before it is installed.

Whatever key it was that changed it: the manifests are what runs.
"""

import configparser
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from common.errors import UserError
from lab.kind.helm.install import RELEASE
from lab.kind.helm.values import DAGS_FOLDER

Manifest = Mapping[str, Any]

_WORKLOADS = ("Deployment", "StatefulSet")
_PODS = (*_WORKLOADS, "Job")
_PARTS = ("scheduler", "api-server", "dag-processor")
_OF_AIRFLOW = (
    *(*_PARTS, "triggerer", "base"),
    *("run-airflow-migrations", "wait-for-airflow-migrations"),
)
_CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_TEMPLATE = "pod_template_file.yaml"
_OURS = "ha-chaos-"
_OF_CLUSTERS = ("PriorityClass", "PersistentVolume", "StorageClass", "CustomResourceDefinition")


def require(manifests: Sequence[Manifest], lab: Manifest, values: Manifest) -> None:
    """Raise UserError when a release would not be the lab, or would wait for what nobody makes.

    `lab` are the lab's own values, `values` those that were rendered. The chart leaves out in
    silence what it takes for a part of another Airflow; pods that refer to a Secret which is not
    there wait for it until the lab is given up.
    """
    _require_parts(manifests, values)
    release = _Release(manifests)
    wrong = [
        *_scale(release, lab),
        *_settings(release, lab),
        *_images(release, lab),
        *_environment(release),
        *_mounts(release, lab),
        *_pooler(release, values),
        *_beyond(release),
    ]
    if wrong:
        raise UserError(
            f"With these values the chart makes another lab: {'; '.join(wrong)}.",
            "Look in your own values for what says so.",
        )
    if missing := list(_missing(release, values)):
        raise UserError(
            f"With these values pods wait for what a lab has not: {'; '.join(missing)}.",
            "Take these keys out in a later --values, or have extraSecrets or extraConfigMaps make "
            "what they name.",
        )


class _Release:
    """The manifests of a release: its pods by component, and Airflow's configuration."""

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self.manifests = manifests
        files = next(
            (
                each.get("data") or {}
                for each in self.of("ConfigMap")
                if _holds(each, "airflow.cfg")
            ),
            {},
        )
        self.config = configparser.ConfigParser(interpolation=None, strict=False)
        self.config.read_string(files.get("airflow.cfg", ""))
        self.pods: dict[str, Manifest] = {
            each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in self.of(*_PODS)
        }
        template = yaml.safe_load(files.get(_TEMPLATE, "")) or {}
        self.pods["worker"] = template.get("spec") or {"containers": []}

    def of(self, *kinds: str) -> list[Manifest]:
        """Return the manifests of some kinds."""
        return [each for each in self.manifests if each.get("kind") in kinds]

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """Yield the containers of Airflow's, with their pod's name."""
        for name, pod in self.pods.items():
            for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
                if container["name"] in _OF_AIRFLOW:
                    yield name, container


def _holds(manifest: Manifest, name: str) -> bool:
    return name in (manifest.get("data") or {})


def _require_parts(manifests: Sequence[Manifest], values: Manifest) -> None:
    rendered = {
        (each["metadata"].get("labels") or {}).get("component")
        for each in manifests
        if each["kind"] in _WORKLOADS
    }
    triggerer = ["triggerer"] if (values.get("triggerer") or {}).get("enabled") else []
    missing = [name for name in [*_PARTS, *triggerer] if name not in rendered]
    if missing:
        raise UserError(
            f"With these values the chart renders no {' and no '.join(missing)} for Airflow "
            f"{values.get('airflowVersion')}.",
            "Look in your own values for what turns it off: airflowVersion, apiServer.enabled, "
            "dagProcessor.enabled.",
        )


def _scale(release: _Release, lab: Manifest) -> Iterator[str]:
    wanted = lab["scheduler"]["replicas"]
    for each in release.of(*_WORKLOADS):
        labels = each["metadata"].get("labels") or {}
        number = each["spec"].get("replicas")
        if labels.get("component") == "scheduler" and number != wanted:
            yield f"{number} schedulers instead of {wanted} (scheduler.replicas)"


def _settings(release: _Release, lab: Manifest) -> Iterator[str]:
    executor = release.config.get("core", "executor", fallback="")
    if executor != lab["executor"]:
        yield f"its executor is {executor!r} (executor)"
    folder = release.config.get("core", "dags_folder", fallback="")
    if folder != DAGS_FOLDER:
        yield f"its DAG folder is {folder!r} (dags, airflowHome)"


def _images(release: _Release, lab: Manifest) -> Iterator[str]:
    wanted = f"{lab['defaultAirflowRepository']}:{lab['defaultAirflowTag']}"
    others = {each["image"] for _, each in release.containers()} - {wanted}
    if others:
        yield f"it runs {' and '.join(sorted(others))} instead of {wanted} (images)"


def _environment(release: _Release) -> Iterator[str]:
    """Yield where the database's URL, a session's name or the ledger is not the lab's."""
    for pod, container in release.containers():
        variables = {
            each["name"]: each.get("valueFrom") or {} for each in container.get("env") or ()
        }
        where = f"in {pod}, container {container['name']} (env, extraEnv)"
        secret = (variables.get(_CONNECTION, {}).get("secretKeyRef") or {}).get("name")
        if secret != f"{_OURS}metadata":
            yield f"{_CONNECTION} is not the lab's {where}"
        if "fieldRef" not in variables.get("PGAPPNAME", {}):
            yield f"PGAPPNAME is not the pod's name {where}"
        ledger = (variables.get("HA_CHAOS_LEDGER", {}).get("secretKeyRef") or {}).get("name")
        if container["name"] == "base" and ledger != f"{_OURS}ledger":
            yield f"HA_CHAOS_LEDGER is not the lab's {where}"


def _mounts(release: _Release, lab: Manifest) -> Iterator[str]:
    wanted = set(map(_place, (lab.get("workers") or {}).get("extraVolumeMounts", ())))
    for pod, container in release.containers():
        missing = sorted(wanted - set(map(_place, container.get("volumeMounts") or ())))
        if missing and container["name"] in ("base", "dag-processor"):
            yield f"{missing[0][0]} is not the lab's in {pod} (extraVolumeMounts, podTemplate)"


def _place(mount: Manifest) -> tuple[str, str]:
    return mount["mountPath"], mount["name"]


def _pooler(release: _Release, values: Manifest) -> Iterator[str]:
    """Yield that PgBouncer has another name than the one that the lab's proxy connects to."""
    name = f"{RELEASE}-pgbouncer"
    if (values.get("pgbouncer") or {}).get("enabled"):
        services = {each["metadata"]["name"] for each in release.of("Service")}
        if name not in services:
            yield f"there is no Service {name} (fullnameOverride, nameOverride)"


def _beyond(release: _Release) -> Iterator[str]:
    """Yield what belongs to no namespace: it would be other labs' too, and stay after this one."""
    for each in release.manifests:
        if each["kind"].startswith("Cluster") or each["kind"] in _OF_CLUSTERS:
            yield f"{each['kind']} {each['metadata']['name']} would stay in the cluster"


def _missing(release: _Release, values: Manifest) -> Iterator[str]:
    """Yield what pods refer to that nobody makes, with the key that names it."""
    there = {(each["kind"], each["metadata"]["name"]) for each in release.manifests}
    wanted = dict.fromkeys(
        reference for pod in release.pods.values() for reference in _references(pod)
    )
    for kind, name in wanted:
        if (kind, name) not in there and not name.startswith(_OURS):
            keys = ", ".join(_keys_of(values, name)) or "one of the chart's own"
            yield f"{kind} {name} ({keys})"


def _references(pod: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the objects without which the pod would not start, as kind and name."""
    account = pod.get("serviceAccountName") or "default"
    if account != "default":
        yield "ServiceAccount", account
    priority = pod.get("priorityClassName") or "system-"
    if not priority.startswith("system-"):
        yield "PriorityClass", priority
    for volume in pod.get("volumes") or ():
        yield from _sources(volume, "secretName")
        for each in (volume.get("projected") or {}).get("sources") or ():
            yield from _sources(each, "name")
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            yield "PersistentVolumeClaim", claim
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        for each in container.get("envFrom") or ():
            yield from _sources(each, "name")
        for each in container.get("env") or ():
            yield from _sources(each.get("valueFrom") or {}, "name")


def _sources(holder: Manifest, secret: str) -> Iterator[tuple[str, str]]:
    kinds = (
        *(("Secret", key, secret if key == "secret" else "name") for key in _SECRETS),
        *(("ConfigMap", key, "name") for key in _CONFIG_MAPS),
    )
    for kind, key, named in kinds:
        source = holder.get(key) or {}
        if source.get(named) and not source.get("optional"):
            yield kind, source[named]


_SECRETS = ("secret", "secretRef", "secretKeyRef")
_CONFIG_MAPS = ("configMap", "configMapRef", "configMapKeyRef")


def _keys_of(values: Any, name: str, at: str = "") -> Iterator[str]:
    """Yield the keys of values that name an object."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _keys_of(value, name, f"{at}.{key}" if at else str(key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            own = value.get("name", number) if isinstance(value, dict) else number
            yield from _keys_of(value, name, f"{at}[{own}]")
    elif isinstance(values, str) and (values == name or ("\n" in values and name in values)):
        yield at
