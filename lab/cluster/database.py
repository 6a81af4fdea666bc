"""The metadata database of somebody else's deployment: what it is, and how to get there from here.

HA_CHAOS_DATABASE_URL, or what a scheduler's container has (origin)
    -> its hosts (routes) -> past a PgBouncer, if one is there (pooler) -> its hosts again
    -> port-forwards (reached) -> may our role do there what it has to? (check)
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kubernetes
import psycopg

from common.errors import UserError
from common.redaction import first_line
from lab.cluster.approach import approach
from lab.cluster.discovery import Release, scheduler_container, sidecars_of
from lab.cluster.grants import require_grants
from lab.cluster.origin import schema_of, with_files
from lab.cluster.pooler import Pooler
from lab.cluster.routes import Route, routes_to
from lab.cluster.url import Database, parse_url
from lab.kube.client import api_client
from lab.kube.failures import in_words
from lab.kube.kubeconfig import Kubeconfig
from lab.kube.portforward import PortForward

URL_VARIABLE = "HA_CHAOS_DATABASE_URL"

_TLS = re.compile(r"\b(SSL|certificate|private key)\b")


@dataclass(frozen=True)
class Located:
    """A release's database, with all that was found on the way to it.

    `origin` is where its URL is from, `pooler` who is at that URL's host, and `past` whether the
    recorder goes past it; `schema` is that of Airflow's tables where the release names one, `files`
    where certificates are from.
    """

    database: Database
    routes: tuple[Route, ...]
    origin: str
    schema: str = ""
    pooler: Pooler | None = None
    past: bool = False
    files: tuple[str, ...] = ()


def find_database(client: object, release: Release) -> tuple[Database, tuple[Route, ...]]:
    """Return a release's database and the route to each of its hosts; see `locate`."""
    found = locate(client, release)
    return found.database, found.routes


def locate(client: object, release: Release) -> Located:
    """Find a release's database; HA_CHAOS_DATABASE_URL comes before what its pods have.

    Raises UserError when neither tells, or the way there cannot be seen.
    """
    with in_words(f"The way to the database of release {release.name} cannot be seen"):
        return _locate(client, release)


def _locate(client: object, release: Release) -> Located:
    core = kubernetes.client.CoreV1Api(client)
    container = scheduler_container(core, release.namespace, release.name)
    schema = schema_of(container)
    if url := os.environ.get(URL_VARIABLE):
        database = parse_url(url)
        routes = routes_to(core, release.namespace, database.hosts)
        return _from_here(Located(database, routes, URL_VARIABLE, schema))
    own = sidecars_of(release.name)
    found = approach(core, release.namespace, container, own)
    database, files = with_files(container, found.database)
    routes, pooler = found.routes, found.pooler
    behind = pooler.behind(database) if pooler else database
    if past := behind != database:
        assert pooler is not None
        routes = routes_to(core, pooler.namespace, behind.hosts, routes[0].selector)
    located = Located(behind, routes, found.origin, schema, pooler, past, tuple(files))
    return _from_here(located)


def _from_here(found: Located) -> Located:
    """Have the database called as it is reached from here, and its tables found by their names."""
    database, more = found.database, dict(found.database.more)
    if found.schema:
        path = _in_options('"' + found.schema.replace('"', '""') + '"')
        more["options"] = f"{more.get('options', '')} -c search_path={path}".strip()
    ports = [
        port if route.selector else route.port
        for (_, port), route in zip(database.hosts, found.routes, strict=True)
    ]
    addresses = [each.address for each in found.routes]
    return replace(
        found,
        database=replace(
            database,
            host=",".join(each.host for each in found.routes),
            port=ports[0] if len(ports) == 1 else ",".join(map(str, ports)),
            more=tuple(sorted(more.items())),
            address=",".join(addresses) if any(addresses) else database.address,
        ),
    )


def _in_options(text: str) -> str:
    """Escape a value for libpq's `options`."""
    return text.replace("\\", "\\\\").replace(" ", "\\ ")


@contextmanager
def reached(
    kubeconfig: Path | Kubeconfig, database: Database, routes: Sequence[Route]
) -> Iterator[str]:
    """Lend conninfo of a database; port-forwards to it last as long, where it takes some.

    Who finds it `Unreachable` meanwhile is told what the port-forwards met.
    """
    forwards: list[PortForward | None] = []
    with ExitStack() as opened:
        if database.files:
            database = database.placed(Path(opened.enter_context(TemporaryDirectory())))
        client: Any = None
        for route in routes:
            forward = None
            if route.selector:
                client = client or api_client(kubeconfig)
                forward = PortForward(client, route.namespace, route.selector, route.port)
                opened.callback(forward.stop)
            forwards.append(forward)
        ports = [forward.start() if forward else None for forward in forwards]
        try:
            yield database.conninfo(ports)
        except Unreachable as error:
            failures = [each.failure for each in forwards if each]
            raise why_unreached(error, failures, routes) from error


def why_unreached(
    error: "Unreachable", failures: Sequence[str], routes: Sequence[Route]
) -> UserError:
    """Return an error that says what its port-forwards met, or what could not be seen before."""
    reasons = [each for each in failures if each]
    if reasons:
        return UserError(f"{error.message} {' '.join(dict.fromkeys(reasons))}")
    if unseen := [each.unseen for each in routes if each.unseen]:
        return UserError(error.message, f"Perhaps since {'; '.join(unseen)}. {error.hint}")
    return error


class Unreachable(UserError):
    """Nobody answers where the database should be."""


def check(conninfo: str, where: str) -> str:
    """Connect and see that it is Airflow's database, and that our role may do there what it must.

    Returns that role. Raises UserError with what to do: most often, how the database is reached
    from here, or the GRANT that is missing.
    """
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as connection:
            return require_grants(connection, where)
    except psycopg.Error as error:
        raise _failed(where, first_line(error).rstrip(".")) from error


def _failed(where: str, reason: str) -> UserError:
    """Say what a connection failed at: the server's own word, a certificate, or the way there."""
    if "FATAL:" in reason:
        return UserError(
            f"The metadata database {where} refuses us: {reason}.",
            "Look at the user, the password and the database of its URL, and at the server's "
            f"pg_hba.conf; or give another URL in {URL_VARIABLE}.",
        )
    if _TLS.search(reason):
        return UserError(
            f"TLS to the metadata database {where} fails: {reason}.",
            f"Look at sslmode, sslrootcert and their kind in its URL; or give {URL_VARIABLE}.",
        )
    return Unreachable(
        f"The metadata database {where} cannot be reached from here: {reason}.",
        "Open a way to it (`ssh -L 15432:HOST:5432 BASTION`, or `kubectl port-forward` to a pod "
        f"that relays), and give {URL_VARIABLE}=postgresql://USER:PASSWORD@127.0.0.1:15432"
        "/DATABASE or --database-url.",
    )
