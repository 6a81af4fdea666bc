"""Who a database session is: by its application_name, else by the address of its pod."""

import logging
import threading
from typing import Any

import psycopg
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from common.waiting import Every
from lab.cluster.discovery import Release
from lab.cluster.routes import is_address
from lab.kube.pods import DAEMONS, list_pods

log = logging.getLogger(__name__)

_REFRESH = 10.0
_REMEMBERED = 2000
_SESSIONS = """
    SELECT DISTINCT application_name, coalesce(host(client_addr), '') FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# As the server itself decides whether it shows who a session is.
_HIDDEN = """
    SELECT quote_ident(current_user) FROM pg_stat_activity
    WHERE datname = current_database() AND NOT pg_has_role('pg_read_all_stats', 'USAGE')
        AND NOT pg_has_role(usesysid, 'USAGE')
    LIMIT 1
"""


def addresses(core: Any, namespace: str) -> dict[str, str]:
    """Return the names of the components' pods by address; one that pods share names none."""
    return {
        pod.status.pod_ip: pod.metadata.name
        for pod in list_pods(core, namespace, DAEMONS)
        if pod.status.pod_ip and not pod.spec.host_network and pod.status.phase == "Running"
    }


def told_apart(core: Any, release: Release, conninfo: str) -> tuple[str, str]:
    """Say how the schedulers' sessions are told apart, `name` or `address`; else why they are not.

    Exactly one of the two is not empty. Raises psycopg.Error.
    """
    if reason := borrowed_names(release):
        return "", reason
    schedulers = release.schedulers
    with psycopg.connect(conninfo, connect_timeout=10) as connection:
        sessions = connection.execute(_SESSIONS).fetchall()
        hidden = connection.execute(_HIDDEN).fetchone()
    by_name = {str(name) for name, _ in sessions}
    if by_name >= set(schedulers):
        return "name", ""
    pods = addresses(core, release.namespace)
    by_address = {pods.get(str(address)) for name, address in sessions if not name}
    if by_address >= set(schedulers):
        return "address", ""
    known = {each for each in schedulers if each in by_name or each in by_address}
    strangers = sorted({str(name or address) for name, address in sessions} - {""})[:4]
    why = "a pooler or the network hides them"
    if hidden:
        grant = f"GRANT pg_read_all_stats TO {hidden[0]};"
        why = f"our role may not see whose they are (have a superuser run: {grant}), or {why}"
    return "", (
        f"{len(known)} of {len(schedulers)} schedulers are known by their database sessions, "
        f"which come from {', '.join(strangers) or 'nobody'}: {why}"
    )


def borrowed_names(release: Release) -> str:
    """Say why a session's name may be another process', empty when it is the session's own.

    PgBouncer sets a client's name on a server session that it hands out, but clears none: where
    sessions are shared by the transaction, a client without a name has the last one's. So names
    count there only if every pod has its own.
    """
    if release.pool_mode in ("", "session") or release.named == "pod":
        return ""
    return (
        f"PgBouncer ({release.pool_mode} pooling) gives a process without a name the name of the "
        "one before it, and not every pod has one: set PGAPPNAME as charts-values/identity.yaml "
        "does"
    )


class Names:
    """Turns addresses into pods' names; looks at the pods again every ten seconds.

    An address is remembered after its pod has gone, until another pod has it.
    """

    def __init__(self, core: Any, namespace: str) -> None:
        self._core = core
        self._namespace = namespace
        self._known: dict[str, str] = {}
        self._refresh = Every(_REFRESH, at_once=True)
        self._lock = threading.Lock()

    def __call__(self, client: str) -> str:
        """Return the pod at an address; what is not an address of a pod stays as it is."""
        if not is_address(client):
            return client
        with self._lock:
            if self._refresh.due():
                self._look()
            return self._known.get(client, client)

    def _look(self) -> None:
        try:
            found = addresses(self._core, self._namespace)
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            log.debug("The pods' addresses cannot be read: %s", error)
            return
        self._known = found if len(self._known) > _REMEMBERED else {**self._known, **found}
