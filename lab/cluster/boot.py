"""The boot of a lab in a deployment that is somebody else's: look, open ways, change nothing.

    this process --port-forward--> a pod behind the database's Service, where it is in the cluster
                 --port-forward--> the API server
                 --logs----------> <folder>/logs, and worker pods' in <folder>/pods

What a test's recorder and gates put into the database is on the undo list before any of them can,
and a connection that does nothing else is held open to take it out (lab/cluster/keeper.py).
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from common.paths import PROJECT
from lab.api import AirflowAPI
from lab.cluster.config import single_context, write_kubeconfig
from lab.cluster.database import (
    URL_VARIABLE,
    Database,
    Way,
    behind_pgbouncer,
    check,
    parse_url,
    way_to,
)
from lab.cluster.discovery import Release, database_url, discover, pgbouncer_ini
from lab.cluster.identity import told_apart
from lab.cluster.keeper import Keeper
from lab.kube.client import api_client, core_v1
from lab.kube.names import own_workers
from lab.kube.ways import Ways
from lab.spec import Attachment, LabSpec
from lab.state import LabState, Progress
from lab.undo import Undo, forget_leftover

log = logging.getLogger(__name__)

_TRIM_EVERY = 10.0
_RENEW_EVERY = 60.0
_CLEARINGS = 2
# Bytes: of one log, and of all in a folder. A worker that was refused its start wrote a few KB.
_LOG_LIMIT = 32_000_000
_FOLDER_LIMIT = 256_000_000


class AttachBoot:
    """Attaches one lab; what it has outside this process are connections, and the undo list."""

    end_seconds = 60.0

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None:
        assert spec.attachment is not None
        self.directory = directory
        self.spec = spec
        self.state = state
        self._progress = Progress(directory, state)
        self.attachment: Attachment = spec.attachment
        self._ways = Ways()
        self._trimmed = 0.0
        self._looked = time.monotonic()
        self._keeper: Keeper | None = None

    def steps(self) -> Iterator[None]:
        """Attach, yielding often, so that the caller can listen; UserError when a part fails."""
        for folder in ("logs", "pods"):
            (self.directory / folder).mkdir(exist_ok=True)
        kubeconfig = self.directory / "kubeconfig"
        there = self.attachment
        write_kubeconfig(kubeconfig, single_context(there.kubeconfig, there.context))
        self._client = api_client(kubeconfig)
        with self._progress.timed("release"):
            release = discover(self._client, there.namespace, there.release)
        yield
        with self._progress.timed("database"):
            self._reach_database(release)
        yield
        with self._progress.timed("API"):
            self._reach_api(release)
        components = f"tier=airflow,release={release.name},kubernetes_executor!=True"
        workers = own_workers(release.name, release.neighbours)
        for selector, folder in ((components, "logs"), (workers, "pods")):
            self._ways.follow(self._client, there.namespace, selector, self.directory / folder)
        self._progress.ready()

    def _reach_database(self, release: Release) -> None:
        database, way = find_database(self._client, release)
        port = None
        if way.selector:
            port = self._ways.forward(self._client, way.namespace, way.selector, way.port)
        role = check(database.conninfo(port), f"{database.name} at {database.host}")
        identity, reason = told_apart(core_v1(self._client), release, database.conninfo(port))
        log.info("Database role %s; processes are told apart by %s", role, identity or reason)
        self.state.endpoints = {
            "namespace": release.namespace,
            "release": release.name,
            "database": asdict(database),
            "way": asdict(way),
            "postgres": port,
            "control": 0,
            "identity": identity,
            "no_identity": reason,
            "neighbours": release.neighbours,
            "not_covered": release.not_covered,
        }
        self.state.save(self.directory)
        Undo(self.directory).add(undo_argv(self.directory, "clear"))
        self._release = release
        self._keeper = Keeper(database.conninfo(port))

    def _reach_api(self, release: Release) -> None:
        url = self.attachment.api_url
        if not url:
            selector = f"component=api-server,release={release.name}"
            port = self._ways.forward(self._client, release.namespace, selector, release.api_port)
            url = f"http://127.0.0.1:{port}{release.api_path}"
        self.state.endpoints["api"] = url
        try:
            version = AirflowAPI(url).version()
        except (requests.RequestException, KeyError, ValueError) as error:
            raise UserError(f"The API server does not answer at {url}: {error}") from error
        log.info("Airflow %s", version)

    def _clear(self) -> None:
        """Take us out of the database: by the connection that was kept, else by a new one."""
        if self._keeper is not None:
            reason = self._keeper.remove()
            self._keeper.close()
            if reason is None:
                forget_leftover(self.directory.name)
                return
            log.warning("Something of ours is still in the database: %s", reason)
        argv = undo_argv(self.directory, "clear")
        for _ in range(_CLEARINGS):
            done = subprocess.run(argv, capture_output=True, text=True)
            if done.returncode == 0:
                return
            log.warning("Something of ours is still in the database: %s", done.stderr.strip())

    def _renew(self) -> None:
        """Take over a password that was changed where the deployment has it, for who comes next."""
        try:
            database, _ = find_database(self._client, self._release)
        except (UserError, ApiException, HTTPError) as error:
            log.debug("The database's URL cannot be read again: %s", error)
            return
        stored = Database(**self.state.endpoints["database"])
        if database != stored and database.is_at_place_of(stored):
            log.info("The database's URL has changed; it is taken over")
            self.state.endpoints["database"] = asdict(database)
            self.state.save(self.directory)

    def answer(self, request: dict[str, Any]) -> None:
        """Refuse: who uses the lab asks the cluster itself."""
        raise UserError(f"an attached lab's supervisor knows no operation {request['op']!r}")

    def reap(self) -> None:
        """Keep the logs on disk bounded and the password fresh, however long this goes on."""
        if self._keeper is not None and time.monotonic() - self._looked > _RENEW_EVERY:
            self._looked = time.monotonic()
            self._renew()
        if time.monotonic() - self._trimmed > _TRIM_EVERY:
            self._trimmed = time.monotonic()
            for folder in ("logs", "pods"):
                trim(self.directory / folder)

    def stop(self) -> None:
        """See that nothing of ours stays in the database; close the port-forwards, stop following.

        The undo list has run before, but Airflow's tables may have been locked for too long then.
        """
        if "database" in self.state.endpoints:
            self._clear()
        self._ways.close()
        shutil.rmtree(self.directory / "pods", ignore_errors=True)

    @staticmethod
    def clear(directory: Path, spec: LabSpec) -> None:
        """Do nothing: what is in the deployment is on the undo list."""


def find_database(client: object, release: Release) -> tuple[Database, Way]:
    """Return a release's database and the way to it; HA_CHAOS_DATABASE_URL comes first.

    Raises UserError when neither tells.
    """
    core = core_v1(client)
    if url := os.environ.get(URL_VARIABLE):
        database = parse_url(url)
    else:
        database = parse_url(database_url(client, release))
        if release.pool_mode not in ("", "unknown"):
            database = behind_pgbouncer(database, pgbouncer_ini(client, release))
    return database, way_to(core, release.namespace, database.host, database.port)


def undo_argv(directory: Path, *what: str) -> list[str]:
    """Return the command that undoes something in a deployment, whoever runs it from wherever."""
    command = [sys.executable, "-m", "lab.cluster.undo", str(directory), *what]
    return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(PROJECT), *command]


def trim(folder: Path, limit: int = _LOG_LIMIT, total: int = _FOLDER_LIMIT) -> None:
    """Empty each log that is too long; remove those that were quiet the longest, if all are.

    Whoever appends to an emptied file goes on at its beginning.
    """
    found = []
    for path in folder.glob("*.log"):
        status = path.stat()
        if status.st_size > limit:
            os.truncate(path, 0)
        else:
            found.append((status.st_mtime, status.st_size, path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= total:
            return
        path.unlink(missing_ok=True)
        left -= size
