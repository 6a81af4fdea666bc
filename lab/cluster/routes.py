"""How the hosts of a database's URL, as a pod knows them, are reached from here.

a name of a Service  -- its selector ------------->  port-forward to its pods
                     -- its EndpointSlices ------->  port-forward to the pod there, or an address
                     -- ExternalName ------------->  another host, which may be a Service again
POD.SERVICE          ----------------------------->  port-forward to that pod
127.0.0.1            -- a sidecar of the pods ---->  port-forward to one of them
anything else        ----------------------------->  directly from this machine
"""

import ipaddress
import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kubernetes.client.exceptions import ApiException

from common.errors import UserError
from lab.kube.failures import explained, missing_rule
from lab.kube.pods import ENDPOINTS, POD, addresses_behind, list_pods, runs

_HOPS = 8
_MISSING, _FORBIDDEN = 404, 403


@dataclass(frozen=True)
class Route:
    """How to reach a host: itself, or `port` of pods, where `selector` says which.

    `selector` is of labels, or `pod/NAME`, or `endpoints/SERVICE` for whoever stands behind that
    Service now. `address` is where a host is whose name means nothing here. `unseen` says what
    could not be looked at, which may be why a host is not reached. `words` say the way, for people.
    """

    host: str
    port: int
    namespace: str = ""
    selector: str = ""
    address: str = ""
    unseen: str = ""
    words: str = ""
    pods: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as a lab's state keeps it."""
        kept = ("host", "port", "namespace", "selector")
        return {name: getattr(self, name) for name in kept}


def routes_to(
    core: Any, namespace: str, hosts: Iterable[tuple[str, int]], own: str = ""
) -> tuple[Route, ...]:
    """Return the route to each host of a URL; `own` selects the pods whose URL it is.

    Without `own` the URL is somebody's here: 127.0.0.1 is this machine. Raises UserError with the
    RBAC verb to allow, where one is missing that is surely needed.
    """
    return tuple(_route_to(core, namespace, host, port, own) for host, port in hosts)


def _route_to(core: Any, namespace: str, host: str, port: int, own: str) -> Route:
    if own and host.startswith(("/", "@")):
        path = posixpath.join(host, f".s.PGSQL.{port}")
        raise UserError(
            f"The pods reach their database by a Unix socket, {path}: nothing leads there from "
            "here.",
            "Give the URL of the server itself, in HA_CHAOS_DATABASE_URL.",
        )
    if own and _is_loopback(host):
        words = f"through a port-forward to port {port} of the pods themselves (a sidecar)"
        return _behind(core, Route(host, port, namespace, own, words=words))
    via: list[str] = []
    named = host
    for _ in range(_HOPS):
        found = _look_up(core, namespace, host, port)
        if isinstance(found, Route):
            words = ", ".join([*via, found.words])
            stays = found.selector or found.address  # the certificate is that of the URL's host
            return replace(found, host=named if stays else found.host, words=words)
        via.append(f"{host} is another name of {found}")
        host = found
    raise UserError(f"The Services of the database's URL lead in a circle: {'; '.join(via[:2])}.")


def _look_up(core: Any, namespace: str, host: str, port: int) -> Route | str:
    """Return a host's route, or the other name that it is of."""
    if is_address(host):
        return _by_address(core, namespace, host, port)
    name, where, pod, is_sure = _names(namespace, host)
    if not name:
        return Route(host, port, words="directly from this machine")
    try:
        service = core.read_namespaced_service(name, where, _request_timeout=10)
    except ApiException as error:
        return _without(core, error, Route(host, port), (name, where, pod, is_sure, namespace))
    if service.spec.type == "ExternalName":
        return str(service.spec.external_name).rstrip(".")
    if pod:
        return _behind(core, _to_pod(host, port, where, pod))
    return _to_service(core, service, host, port)


def _names(namespace: str, host: str) -> tuple[str, str, str, bool]:
    """Read a name as the cluster's DNS does: the Service, its namespace, the pod, is it sure?

    Names are NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc[.cluster.local], each with a pod before.
    """
    labels = host.lower().rstrip(".").split(".")
    is_sure = "svc" in labels[2:4]
    if is_sure:
        labels = labels[: labels.index("svc", 2)]
    if len(labels) == 1:
        return labels[0], namespace, "", True
    if len(labels) == 2:
        return labels[0], labels[1], "", is_sure
    if len(labels) == 3:
        return labels[1], labels[2], labels[0], is_sure
    return "", "", "", False


def _without(
    core: Any, error: ApiException, direct: Route, names: tuple[str, str, str, bool, str]
) -> Route:
    """Say what is to be done where there is no such Service, or where we may not see it."""
    name, where, pod, is_sure, namespace = names
    if error.status == _MISSING:
        if not pod and where != namespace and _has_pod(core, namespace, name, where):
            return _behind(core, _to_pod(direct.host, direct.port, namespace, name))
        if is_sure and direct.host.count(".") > 1:
            raise UserError(
                f"There is no Service {name} in namespace {where}: the database's URL names it.",
                "Look at --context; or give HA_CHAOS_DATABASE_URL.",
            )
        return replace(direct, words="directly from this machine")
    if error.status != _FORBIDDEN or is_sure:
        what = f"Whether the database's host, {direct.host}, is a Service cannot be seen"
        raise _or_by_url(explained(error, what)) from None
    unseen = f"whether {direct.host} is a Service cannot be seen: allow {missing_rule(error)}"
    return replace(direct, unseen=unseen, words=f"directly from this machine ({unseen})")


def _has_pod(core: Any, namespace: str, name: str, subdomain: str) -> bool:
    """Tell whether NAME.SUBDOMAIN is a pod of this namespace: that of a StatefulSet."""
    try:
        pod = core.read_namespaced_pod(name, namespace, _request_timeout=10)
    except ApiException:
        return False
    return bool(pod.spec.subdomain == subdomain)


def _to_pod(host: str, port: int, namespace: str, pod: str) -> Route:
    return Route(host, port, namespace, f"{POD}{pod}", words=f"through a port-forward to pod {pod}")


def _to_service(core: Any, service: Any, host: str, port: int) -> Route:
    name, where = service.metadata.name, service.metadata.namespace
    of_port = [each for each in service.spec.ports or () if each.port == port]
    target = of_port[0].target_port if of_port else port
    if not service.spec.selector:
        return _by_endpoints(core, name, where, host, port)
    selector = ",".join(f"{key}={value}" for key, value in service.spec.selector.items())
    words = f"through a port-forward to the pods of Service {name} in {where} ({selector})"
    route = _behind(core, Route(host, port, where, selector, words=words))
    number = target if isinstance(target, int) else _named_port(route.pods, str(target), port)
    return replace(route, port=number)


def _by_endpoints(core: Any, name: str, where: str, host: str, port: int) -> Route:
    """A Service without selector stands for addresses that somebody writes down."""
    found = addresses_behind(core, where, name)
    if not found:
        raise UserError(f"The Service {name} in {where}, the database's, has no address behind it.")
    first = found[0]
    number = first.port or port
    if first.pod:
        words = (
            f"through a port-forward to the pod behind Service {name} in {where}, {first.pod} now"
        )
        return _behind(core, Route(host, number, where, f"{ENDPOINTS}{name}", words=words))
    by_address = _by_address(core, where, first.address, number)
    if by_address.selector:
        return by_address
    words = f"directly from this machine, at {first.address}, which is behind Service {name}"
    return Route(host, number, address=first.address, words=words)


def _by_address(core: Any, namespace: str, address: str, port: int) -> Route:
    """Return the route to an address: of a Service, of a pod, or of neither.

    Services of other namespaces are looked at where that is allowed.
    """
    services = _listed(core.list_namespaced_service, namespace)
    for each in [*(services or ()), *(_listed(core.list_service_for_all_namespaces) or ())]:
        if address in _addresses_of(each):
            return _to_service(core, each, address, port)
    for pod in _listed(core.list_namespaced_pod, namespace) or ():
        if pod.status.pod_ip == address and not pod.spec.host_network and runs(pod):
            return _behind(core, _to_pod(address, port, namespace, pod.metadata.name))
    unseen = ""
    if services is None:
        unseen = f"whether {address} is a Service's cannot be seen: allow `list services`"
    more = f" ({unseen})" if unseen else ""
    return Route(address, port, unseen=unseen, words=f"directly from this machine{more}")


def _addresses_of(service: Any) -> list[str]:
    """Return a Service's addresses; clients call the list of them in two ways."""
    spec = service.spec
    several = getattr(spec, "cluster_ips", None) or getattr(spec, "cluster_i_ps", None) or []
    return [spec.cluster_ip, *several]


def _listed(ask: Callable[..., Any], *where: str) -> list[Any] | None:
    """Return what there is, None where we may not see it."""
    try:
        return list(ask(*where, _request_timeout=10).items)
    except ApiException:
        return None


def _behind(core: Any, route: Route) -> Route:
    """See that pods are there to which a port-forward can lead. Raises UserError."""
    try:
        pods = list_pods(core, route.namespace, route.selector)
    except ApiException as error:
        what = f"The database's pods in namespace {route.namespace} cannot be seen"
        raise _or_by_url(explained(error, what)) from None
    running = tuple(pod for pod in pods if runs(pod))
    if not running:
        raise UserError(
            f"No running pod of the database is in namespace {route.namespace} ({route.selector}).",
            "Look at its pods.",
        )
    return replace(route, pods=running)


def _or_by_url(error: UserError) -> UserError:
    return UserError(error.message, f"{error.hint} Or give HA_CHAOS_DATABASE_URL.".strip())


def _named_port(pods: Iterable[Any], name: str, default: int) -> int:
    for pod in pods:
        for container in pod.spec.containers:
            for each in container.ports or ():
                if each.name == name:
                    return int(each.container_port)
    return default


def is_address(host: str) -> bool:
    """Tell whether this is an IP address and not a name."""
    if not host[:1].isdigit() and ":" not in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
