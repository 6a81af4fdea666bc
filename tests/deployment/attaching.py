"""Attaches as the lab does, step by step, and as `pytest --lab cluster` does before a session."""

from dataclasses import dataclass

import psycopg

from lab.cluster.database import check, find_database, reached
from lab.cluster.discovery import Release, discover
from lab.cluster.plan import plan
from lab.cluster.routes import Route
from lab.cluster.url import Database
from tests.deployment.standin import NAMESPACE, StandIn


@dataclass(frozen=True)
class Attached:
    """What was found on the way, and what the plan says of it."""

    release: Release
    database: Database
    routes: tuple[Route, ...]
    role: str
    plan: str


def attach(there: StandIn, release: str = "", namespace: str = NAMESPACE) -> Attached:
    """Find the release and its database, plan, and connect. Raises UserError."""
    client = there.client()
    found = discover(client, namespace, release)
    lines = plan(client, "standin", found, allow_faults=False)
    database, routes = find_database(client, found)
    with reached(there.kubeconfig(), database, routes) as conninfo:
        role = check(conninfo, f"{database.name} at {database.place}")
        psycopg.connect(conninfo).close()
    return Attached(found, database, routes, role, "\n".join(lines))
