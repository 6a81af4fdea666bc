"""The first steps from a release's pods to its database: the URL, its hosts, a pooler there."""

from dataclasses import dataclass
from typing import Any

from lab.cluster.container import Container
from lab.cluster.origin import database_of
from lab.cluster.pooler import Pooler, pooler_of
from lab.cluster.routes import Route, routes_to
from lab.cluster.url import Database


@dataclass(frozen=True)
class Approach:
    """The database as the pods' URL names it, where that URL is from, and who answers there."""

    database: Database
    origin: str
    routes: tuple[Route, ...]
    pooler: Pooler | None

    @property
    def pool_mode(self) -> str:
        """Return how sessions are pooled there, empty where nothing pools them."""
        return self.pooler.mode_of(self.database.name) if self.pooler else ""


def approach(core: Any, namespace: str, container: Container, own: str) -> Approach:
    """Go as far as a pod goes by itself; `own` selects the pods, for what is beside them.

    Raises UserError.
    """
    database, origin = database_of(container)
    routes = routes_to(core, namespace, database.hosts, own)
    first = routes[0]
    return Approach(database, origin, routes, pooler_of(core, first.pods, first.port))
