"""The metadata database of somebody else's deployment: its URL, and how to get there from here."""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import kubernetes
import psycopg
from kubernetes.client.exceptions import ApiException
from psycopg.conninfo import make_conninfo

from common.errors import UserError
from common.files import last_line
from lab.cluster.discovery import Release, database_url, pgbouncer_ini
from lab.kube.client import api_client
from lab.kube.kubeconfig import Kubeconfig
from lab.kube.pods import list_pods
from lab.kube.portforward import PortForward

URL_VARIABLE = "HA_CHAOS_DATABASE_URL"

_PORT = 5432
_KEPT = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "options", "target_session_attrs", "host"}
)
_RIGHTS = """
    SELECT current_user,
        has_database_privilege(current_database(), 'CREATE'),
        to_regclass('task_instance') IS NOT NULL,
        coalesce((SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c
            WHERE c.oid = to_regclass('task_instance')), false)
"""


@dataclass(frozen=True)
class Database:
    """What a SQLAlchemy URL says, in libpq's words; `more` are further parameters."""

    host: str
    port: int
    name: str
    user: str
    password: str
    more: tuple[tuple[str, str], ...] = ()

    def conninfo(self, forwarded: int | None = None) -> str:
        """Return libpq conninfo; through a port here, with the certificate still the host's."""
        there: dict[str, Any] = {"host": self.host, "port": self.port}
        if forwarded is not None:
            there |= {"hostaddr": "127.0.0.1", "port": forwarded}
        return make_conninfo(
            dbname=self.name,
            user=self.user,
            password=self.password or None,
            application_name="ha-chaos",
            **{**dict(self.more), **there},
        )

    def is_at_place_of(self, other: "Database") -> bool:
        """Tell whether two are one database, whoever logs in with whatever password."""
        return (self.host, self.port, self.name) == (other.host, other.port, other.name)


@dataclass(frozen=True)
class Route:
    """How to reach a host: itself, or `port` of the pods of `selector`, where it is a Service."""

    host: str
    port: int
    namespace: str = ""
    selector: str = ""


def parse_url(url: str) -> Database:
    """Read a SQLAlchemy or libpq URL; what only the driver inside Airflow understands is left out.

    Raises UserError, without the URL: it holds a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or _PORT
    except ValueError as error:
        raise UserError(
            "The database's URL cannot be read: a part of it is not escaped."
        ) from error
    scheme = parts.scheme.partition("+")[0]
    if scheme not in ("postgresql", "postgres"):
        raise UserError(
            f"The metadata database is {scheme or 'not a URL'}: the recorder needs PostgreSQL."
        )
    query = dict(parse_qsl(parts.query))
    if "ssl" in query:
        query.setdefault("sslmode", query["ssl"])
    more = {key: value for key, value in query.items() if key in _KEPT}
    host = unquote(parts.hostname or "") or more.pop("host", "")
    return Database(
        host=host or "localhost",
        port=port,
        name=unquote(parts.path.lstrip("/")) or "airflow",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        more=tuple(sorted(more.items())),
    )


def route_to(core: Any, namespace: str, host: str, port: int) -> Route:
    """Tell whether a host is a Service of the cluster, and if so which pods stand behind it.

    Raises UserError when the cluster does not let us look at a Service that it may be.
    """
    service = _service(core, namespace, host)
    if service is None:
        return Route(host, port)
    if service.spec.type == "ExternalName":
        return Route(service.spec.external_name, port)
    where = service.metadata.namespace
    if not service.spec.selector:
        return _endpoint(core, where, service.metadata.name, port)
    selector = ",".join(f"{key}={value}" for key, value in service.spec.selector.items())
    found = [each for each in service.spec.ports if each.port == port] or service.spec.ports
    target = found[0].target_port
    if not isinstance(target, int):
        target = _named_port(core, where, selector, str(target), port)
    return Route(host, target or port, where, selector)


def _service(core: Any, namespace: str, host: str) -> Any | None:
    if is_address(host):
        services = core.list_namespaced_service(namespace, _request_timeout=10).items
        return next((each for each in services if each.spec.cluster_ip == host), None)
    name, _, rest = host.partition(".")
    where, _, rest = rest.partition(".")
    if rest and rest.partition(".")[0] != "svc":
        return None
    try:
        return core.read_namespaced_service(name, where or namespace, _request_timeout=10)
    except ApiException as error:
        if error.status == 404 or where:
            return None
        raise UserError(
            f"Whether {host} is a Service cannot be seen: {error.status} {error.reason}.",
            f"Allow `get services` in {namespace}, or give --database-url.",
        ) from error


def _endpoint(core: Any, namespace: str, name: str, port: int) -> Route:
    """A Service without selector stands for an address that somebody wrote down."""
    found = core.read_namespaced_endpoints(name, namespace, _request_timeout=10)
    for subset in found.subsets or ():
        if subset.addresses:
            return Route(subset.addresses[0].ip, subset.ports[0].port if subset.ports else port)
    raise UserError(f"The Service {name}, the deployment's database, has no address behind it.")


def _named_port(core: Any, namespace: str, selector: str, name: str, default: int) -> int:
    for pod in list_pods(core, namespace, selector):
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


def behind_pgbouncer(database: Database, ini: str) -> Database:
    """Return the database that a pgbouncer.ini leads to: the recorder goes past the pooler.

    An entry is `name = host=... port=... dbname=...`; what it leaves out stays as it was.
    """
    for line in ini.splitlines():
        name, equals, rest = line.partition("=")
        if not equals or name.strip() not in (database.name, "*"):
            continue
        words = dict(word.partition("=")[::2] for word in rest.split())
        if "host" in words:
            return replace(
                database,
                host=words["host"],
                port=int(words.get("port", _PORT)),
                name=words.get("dbname", database.name),
            )
    return database


def find_database(client: object, release: Release) -> tuple[Database, Route]:
    """Return a release's database and the route to it; HA_CHAOS_DATABASE_URL comes first.

    Raises UserError when neither tells.
    """
    if url := os.environ.get(URL_VARIABLE):
        database = parse_url(url)
    else:
        database = parse_url(database_url(client, release))
        if release.pool_mode not in ("", "unknown"):
            database = behind_pgbouncer(database, pgbouncer_ini(client, release))
    route = route_to(
        kubernetes.client.CoreV1Api(client), release.namespace, database.host, database.port
    )
    return database, route


@contextmanager
def reached(kubeconfig: Path | Kubeconfig, database: Database, route: Route) -> Iterator[str]:
    """Lend conninfo of a database; a port-forward to it lasts as long, where it takes one."""
    if not route.selector:
        yield database.conninfo()
        return
    client = api_client(kubeconfig)
    forward = PortForward(client, route.namespace, route.selector, route.port)
    try:
        yield database.conninfo(forward.start())
    finally:
        forward.stop()


def check(conninfo: str, where: str) -> str:
    """Connect and see that it is Airflow's database, in the role that owns it; return that role.

    Raises UserError with what to do: most often, how the database is reached from here.
    """
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as connection:
            row = connection.execute(_RIGHTS).fetchone()
    except psycopg.Error as error:
        reason = last_line(str(error), "it gave no reason")
        raise UserError(
            f"The metadata database {where} cannot be reached from here: {reason}",
            "Open a way to it (`ssh -L 15432:HOST:5432 BASTION`, or `kubectl port-forward` to a "
            f"pod that relays), and give {URL_VARIABLE}=postgresql://USER:PASSWORD@127.0.0.1:15432"
            "/DATABASE or --database-url.",
        ) from error
    assert row is not None
    role, creates, migrated, owns = row
    if not migrated:
        raise UserError(
            f"The database {where} has no table task_instance that {role} can see.",
            "Is it Airflow's, and migrated?",
        )
    if not (creates and owns):
        missing = "may not create schemas in it" if owns else "does not own Airflow's tables"
        raise UserError(
            f"The recorder cannot be installed in {where}: the role {role} {missing}.",
            "Give the URL of Airflow's own role, in --database-url.",
        )
    return str(role)
