"""What attaching to a deployment will do, said before anything is done."""

from collections.abc import Iterator
from typing import Any

import requests

from common.errors import UserError
from lab.api import AirflowAPI
from lab.cluster.database import Located, locate
from lab.cluster.discovery import Release
from lab.cluster.identity import borrowed_names
from lab.kube.portforward import PortForward


def reported_version(client: Any, release: Release) -> str:
    """Return the version that the API server reports: an image's tag may say anything."""
    selector = f"component=api-server,release={release.name}"
    forward = PortForward(client, release.namespace, selector, release.api_port)
    try:
        return AirflowAPI(f"http://127.0.0.1:{forward.start()}{release.api_path}").version()
    except (requests.RequestException, ValueError, KeyError) as error:
        raise UserError(
            f"The API server of release {release.name} does not answer through a port-forward: "
            f"{forward.failure or error}",
            "Look at its pod, or give --api-url.",
        ) from error
    finally:
        forward.stop()


def plan(client: Any, context: str, release: Release, *, allow_faults: bool) -> list[str]:
    """Return the plan, a line each: what is read, what is created, who is disturbed.

    Raises UserError when the database's URL is nowhere to be had, or the way there cannot be seen.
    """
    found = locate(client, release)
    lines = [
        f"deployment: release {release.name} in {release.namespace}, context {context}: "
        f"{', '.join(release.components)}; {release.executor}; image {release.image}",
        *_database(found, release),
        "reads: pods of the namespace (watch), logs of components and workers, "
        f"{_identity(release)}",
        "creates: schema `oracle` in that database, and triggers on task_instance and dag_run that "
        "write into it, and where the role may on dag, slot_pool, backfill, trigger, four tables "
        "of assets and that of callbacks (installing takes the tables' locks, for 0.5 s at most, "
        "whether or not it succeeds); none of it is replicated, and every role goes on writing",
        "removes: all of it at the end, also when this process is killed or the password expires; "
        "a backup made meanwhile contains it",
    ]
    if allow_faults:
        lines += [
            "disturbs: DAG runs of the suite's own DAGs; schema `chaos`, and for as long as a "
            "hold needs it a row-level security policy, or a trigger, on the table that it is "
            "about (most often dag); schedulers are paused and killed, worker pods deleted",
            "fails meanwhile: pg_dump, in tests with holds or delays, as long as each lasts "
            "(row-level security is forced on that table; `--enable-row-security` helps)",
        ]
    else:
        lines.append("disturbs: nothing, without --allow-faults")
    lines += [f"not covered: {each}" for each in release.not_covered]
    return lines


def _database(found: Located, release: Release) -> Iterator[str]:
    """Say what the database is, how that is known, and how it is reached."""
    database = found.database
    whom = f"as {database.user}" if database.user else "as nobody in particular"
    yield f"database: {database.name} at {database.place}, {whom} (its URL is from {found.origin})"
    for route in found.routes:
        to = f"{route.host}: " if len(found.routes) > 1 else ""
        yield f"way there: {to}{route.words}"
    if found.pooler is not None:
        mode = release.pool_mode or found.pooler.mode
        how = "which the recorder goes past" if found.past else "through which the recorder goes"
        yield f"pooler: PgBouncer ({mode} pooling; {found.pooler.source}), {how}"
    if found.schema:
        yield f"schema of Airflow's tables: {found.schema}"
    if found.files:
        yield f"certificates: {'; '.join(found.files)}; copied to the lab's folder until it ends"


def _identity(release: Release) -> str:
    by = {
        "pod": "a row's process by PGAPPNAME, which is the pod's name",
        "alike": "no process behind a row: PGAPPNAME is the same for all (charts-values/"
        "identity.yaml has it right)",
        "": "a row's process by the address that it connects from",
    }
    if release.pool_mode and not release.named:
        return (
            f"no process behind a row: PgBouncer ({release.pool_mode} pooling) hides addresses; "
            "set PGAPPNAME as charts-values/identity.yaml does"
        )
    if release.pool_mode in ("", "session"):
        return by[release.named]
    if reason := borrowed_names(release):
        return f"no process behind a row: {reason}"
    return by[release.named] + (
        f"; PgBouncer's {release.pool_mode} pooling: a session that sets no name (asyncpg does "
        "not) goes by the name of the one before it, and a hold keeps a server session, which "
        "other processes may get"
    )
