"""What a deployment of the official chart is made of, read from its namespace; nothing is changed.

The chart's own labels tell: tier=airflow, component=scheduler|api-server|..., release=NAME. What is
configured is read where Airflow reads it (`container`). What of it no recorder of ours sees is said
in words: other executors, pods elsewhere.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import kubernetes
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from common.errors import UserError
from lab.base import image_build
from lab.cluster.approach import approach
from lab.cluster.container import Container, Objects
from lab.cluster.pooler import UNKNOWN
from lab.kube.failures import explained
from lab.kube.pods import API_PORT, DAEMONS, list_pods, runs

log = logging.getLogger(__name__)

FOLLOWED = "KubernetesExecutor"

Setting = Callable[[str, str, str], str]
"""Returns a setting by section and key, or the default that is its third argument."""

_YES = frozenset({"true", "t", "1"})
_SECTION = "kubernetes_executor"
_NAME = "PGAPPNAME"


@dataclass(frozen=True)
class Release:
    """One release. `named` is how its processes name themselves to the database: by `pod`, all
    `alike`, or not at all (empty).

    `pool_mode` is that of the pooler at which the pods' own URL ends, empty when there is none. The
    API is at `api_path` of `api_port`.
    `build` is of the images that schedulers and API server run.
    `neighbours` are other releases in the namespace; `not_covered` is what of this one will not be
    seen, in words.
    """

    namespace: str
    name: str
    image: str
    schedulers: tuple[str, ...]
    components: tuple[str, ...]
    executor: str
    named: str
    pool_mode: str
    api_port: int
    api_path: str
    neighbours: tuple[str, ...]
    not_covered: tuple[str, ...]
    build: str = ""


def discover(client: Any, namespace: str, release: str = "") -> Release:
    """Return the release in a namespace; UserError unless there is one that fits."""
    try:
        return _discover(kubernetes.client.CoreV1Api(client), namespace, release)
    except ApiException as error:
        raise explained(error, f"Namespace {namespace} cannot be looked into") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise explained(error, "The cluster does not answer") from error


def scheduler_container(core: Any, namespace: str, release: str) -> Container:
    """Return the container of a scheduler as it is now; UserError where none runs."""
    found = [pod for pod in list_pods(core, namespace, sidecars_of(release)) if runs(pod)]
    if not found:
        raise UserError(f"Release {release} has no running scheduler.", "Look at its pods.")
    return _container(core, namespace, found[0])


def sidecars_of(release: str) -> str:
    """Return the selector of the pods beside whose Airflow a sidecar serves."""
    return f"tier=airflow,component=scheduler,release={release}"


def _container(core: Any, namespace: str, pod: Any) -> Container:
    return Container(Objects(core, namespace), pod, _main(pod))


def _discover(core: Any, namespace: str, wanted: str) -> Release:
    pods = list_pods(core, namespace, DAEMONS)
    releases = {_label(pod, "release") for pod in pods} - {""}
    pods = [pod for pod in pods if runs(pod)]
    name = _one_release(namespace, sorted({_label(pod, "release") for pod in pods} - {""}), wanted)
    pods = [pod for pod in pods if _label(pod, "release") == name]
    by_component: dict[str, list[Any]] = {}
    for pod in pods:
        by_component.setdefault(_label(pod, "component"), []).append(pod)
    _check(name, by_component)
    scheduler = by_component["scheduler"][0]
    container = _main(scheduler)
    has = _container(core, namespace, scheduler)
    executor = has.setting("core", "executor", FOLLOWED).replace(" ", "")
    if FOLLOWED not in executor:
        raise UserError(
            f"Release {name} runs {executor}: this suite follows KubernetesExecutor's workers.",
            "Attach to a release with executor: KubernetesExecutor.",
        )
    return Release(
        namespace=namespace,
        name=name,
        image=container.image,
        schedulers=tuple(sorted(pod.metadata.name for pod in by_component["scheduler"])),
        components=tuple(f"{len(each)} {what}" for what, each in sorted(by_component.items())),
        executor=executor,
        named=_named(has),
        pool_mode=_pool_mode(core, namespace, name, has, pooled="pgbouncer" in by_component),
        api_port=_port(_main(by_component["api-server"][0])),
        api_path=urlsplit(has.setting("api", "base_url", "")).path.rstrip("/"),
        build=image_build(
            each.image_id or ""
            for pod in (*by_component["scheduler"], *by_component["api-server"])
            for each in pod.status.container_statuses or ()
            if each.name == _main(pod).name
        ),
        neighbours=tuple(sorted(releases - {name})),
        not_covered=tuple(not_covered(has.setting, namespace)),
    )


def _one_release(namespace: str, found: list[str], wanted: str) -> str:
    if not found:
        raise UserError(
            f"Namespace {namespace} has no running pods of the official Airflow chart "
            "(label tier=airflow).",
            "Look at --context and --namespace.",
        )
    if wanted and wanted not in found:
        raise UserError(
            f"There is no release {wanted!r} in {namespace}.", f"There: {_list(found)}."
        )
    if not wanted and len(found) > 1:
        raise UserError(
            f"Namespace {namespace} has several releases: {_list(found)}.",
            "Name one with --release.",
        )
    return wanted or found[0]


def _check(name: str, by_component: dict[str, list[Any]]) -> None:
    if "webserver" in by_component and "api-server" not in by_component:
        raise UserError(
            f"Release {name} is Airflow 2: it has a webserver and no API server.",
            "This suite tests Airflow 3.0 and newer.",
        )
    for component in ("scheduler", "api-server"):
        if component not in by_component:
            raise UserError(
                f"Release {name} has no running {component}.",
                f"Running: {_list(by_component)}. Look at its pods.",
            )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _label(pod: Any, name: str) -> str:
    return str((pod.metadata.labels or {}).get(name, ""))


def _main(pod: Any) -> Any:
    """Return the container of a pod that is called as its component; sidecars may stand first."""
    component = _label(pod, "component")
    return next((c for c in pod.spec.containers if c.name == component), pod.spec.containers[0])


def _port(container: Any) -> int:
    ports = [each.container_port for each in container.ports or ()]
    return int(ports[0]) if ports else API_PORT


def _named(container: Container) -> str:
    return {True: "pod", False: "alike", None: ""}[container.names_by_pod(_NAME)]


def _pool_mode(
    core: Any, namespace: str, release: str, container: Container, *, pooled: bool
) -> str:
    """Return how the pods' sessions are pooled; where their URL cannot be read, by the chart."""
    try:
        return approach(core, namespace, container, sidecars_of(release)).pool_mode
    except UserError as error:
        log.debug("The way to the database of %s is not known yet: %s", release, error)
        return UNKNOWN if pooled else ""


def executors(configured: str, *, teams: bool) -> list[tuple[str, str]]:
    """Return the team and the name of each executor of `[core] executor`; no team is empty.

    `A,B;team_a=C` gives team_a an executor of its own; without `[core] multi_team` (`teams`)
    Airflow ignores that part. An executor is a name, a path, or an alias and one of them.
    """
    found = []
    for part in configured.replace(" ", "").split(";"):
        team, _, names = part.rpartition("=")
        if not team or teams:
            found += [(team, each) for each in names.split(",") if each]
    return found


def not_covered(setting: Setting, namespace: str) -> list[str]:
    """Return what a recorder that watches the worker pods of `namespace` does not see."""
    teams = _is_on(setting, "core", "multi_team")
    found = executors(setting("core", "executor", FOLLOWED), teams=teams)
    return [
        *(
            f"what {name} runs{f' for team {team}' if team else ''}: "
            f"only {FOLLOWED}'s workers are followed"
            for team, name in found
            if FOLLOWED not in name
        ),
        *_pods_elsewhere(setting, namespace, {team for team, name in found if FOLLOWED in name}),
    ]


def _pods_elsewhere(setting: Setting, namespace: str, teams: set[str]) -> Iterator[str]:
    for team in sorted(teams):
        whose = f"worker pods of team {team}" if team else "worker pods"
        section = f"{team}={_SECTION}" if team else _SECTION
        default = setting(_SECTION, "namespace", namespace) if team else namespace
        if (other := setting(section, "namespace", default)) != namespace:
            yield f"{whose}: they are in namespace {other}"
    if _is_on(setting, _SECTION, "multi_namespace_mode"):
        listed = setting(_SECTION, "multi_namespace_mode_namespace_list", "").split(",")
        others = sorted({each.strip() for each in listed} - {"", namespace})
        if others:
            yield f"worker pods in {', '.join(others)} (multi_namespace_mode)"
        elif not any(listed):
            yield f"worker pods outside {namespace}: multi_namespace_mode allows every namespace"


def _is_on(setting: Setting, section: str, key: str) -> bool:
    return setting(section, key, "").lower() in _YES
