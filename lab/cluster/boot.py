"""The boot of a lab in a deployment that is somebody else's: look, open tunnels, change nothing.

    this process --port-forward--> a pod behind the database's Service, where it is in the cluster
                 --port-forward--> the API server
                 --logs----------> <folder>/logs, and worker pods' in <folder>/pods

What is put into the database is on the lab's undo list before (`ClusterLab.undo_in_database`); what
is still there when the lab ends is taken out then.
"""

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import requests
import yaml
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from common.files import last_line
from common.waiting import Every
from lab.api import AirflowAPI
from lab.cluster.database import Unreachable, check, find_database, why_unreached
from lab.cluster.discovery import Release, discover
from lab.cluster.identity import told_apart
from lab.cluster.rights import with_rights
from lab.cluster.undo import is_promised, undo_argv
from lab.cluster.url import Database
from lab.kube.boot import ReleaseBoot
from lab.kube.failures import in_words
from lab.kube.kubeconfig import single_context
from lab.kube.pods import DAEMONS, own_workers
from lab.spec import Attachment, LabSpec
from lab.state import LabState

log = logging.getLogger(__name__)

_TRIM_EVERY = 10.0
_RENEW_EVERY = 15.0
_CLEARINGS = 2
_TRYING = 7 * 86_400.0
# Bytes: of one log, and of all in a folder. A worker that was refused its start wrote a few KB.
_LOG_LIMIT = 32_000_000
_FOLDER_LIMIT = 256_000_000


class ClusterBoot(ReleaseBoot):
    """Attaches one lab; what it has outside this process are connections, and the undo list."""

    end_seconds = 60.0

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None:
        super().__init__(directory, spec, state)
        assert spec.attachment is not None
        self.attachment: Attachment = spec.attachment
        self.namespace = spec.attachment.namespace
        self._trim = Every(_TRIM_EVERY)
        self._renew = Every(_RENEW_EVERY)

    def steps(self) -> Iterator[None]:
        """Attach, yielding often, so that the caller can listen; UserError when a part fails."""
        there = self.attachment
        self._begin(yaml.safe_dump(single_context(there.kubeconfig, there.context)))
        with self._progress.timed("release"):
            found = discover(self._client, there.namespace, there.release)
            self._release = with_rights(self._client, found)
        yield
        with self._progress.timed("database"):
            self._reach_database(self._release)
        yield
        with self._progress.timed("API"):
            self._reach_api(self._release)
        self._follow(f"{DAEMONS},release={self._release.name}")
        self._follow(own_workers(self._release.name, self._release.neighbours), "pods")
        self._progress.ready()

    @in_words("The deployment's database cannot be looked at")
    def _reach_database(self, release: Release) -> None:
        database, routes = find_database(self._client, release)
        database = database.placed(self.directory)
        port = [
            self._forward(each.selector, each.port, each.namespace) if each.selector else None
            for each in routes
        ]
        try:
            role = check(database.conninfo(port), f"{database.name} at {database.place}")
        except Unreachable as error:
            raise why_unreached(error, [self._failure()], routes) from error
        core = CoreV1Api(self._client)
        identity, reason = told_apart(core, release, database.conninfo(port))
        log.info("Database role %s; processes are told apart by %s", role, identity or reason)
        self.state.endpoints = {
            "namespace": release.namespace,
            "release": release.name,
            "database": asdict(database),
            "routes": [each.to_json() for each in routes],
            "postgres": port,
            "control": 0,
            "identity": identity,
            "no_identity": reason,
            "neighbours": release.neighbours,
            "not_covered": release.not_covered,
        }
        self.state.save(self.directory)

    def _reach_api(self, release: Release) -> None:
        url = self.attachment.api_url
        if not url:
            selector = f"component=api-server,release={release.name}"
            port = self._forward(selector, release.api_port)
            url = f"http://127.0.0.1:{port}{release.api_path}"
        self.state.endpoints["api"] = url
        try:
            version = AirflowAPI(url).version()
        except (requests.RequestException, KeyError, ValueError) as error:
            reason = error if self.attachment.api_url else self._failure() or error
            raise UserError(f"The API server does not answer at {url}: {reason}") from error
        log.info("Airflow %s", version)

    def _take_over_password(self) -> None:
        """Take over a password that was changed where the deployment has it, for who comes next."""
        try:
            database, _ = find_database(self._client, self._release)
            database = database.placed(self.directory)
        except (UserError, ApiException, HTTPError) as error:
            log.debug("The database's URL cannot be read again: %s", error)
            return
        stored = Database(**self.state.endpoints["database"])
        if database != stored and database.is_at_place_of(stored):
            log.info("The database's URL has changed; it is taken over")
            self.state.endpoints["database"] = asdict(database)
            self.state.save(self.directory)

    def reap(self) -> None:
        """Keep the logs on disk bounded and the password fresh, however long this goes on."""
        if "database" in self.state.endpoints and self._renew.due():
            self._take_over_password()
        if self._trim.due():
            for folder in ("logs", "pods"):
                trim(self.directory / folder)

    def stop(self) -> None:
        """See that nothing of ours stays in the database; close the port-forwards, stop following.

        The undo list has run before, but Airflow's tables may have been locked for too long then.
        """
        for _ in range(_CLEARINGS):
            if reason := _still_there(self.directory):
                log.warning("Something is still in the database: %s", reason)
        self._close_tunnels()
        shutil.rmtree(self.directory / "pods", ignore_errors=True)

    @staticmethod
    def clear(directory: Path, spec: LabSpec) -> None:  # noqa: ARG004
        """See that nothing of ours is in the database; UserError while it may be, for some days.

        The undo list has run before, but the database may not have been there. So the folder is
        kept, and each session tries again, until the deployment is taken for gone for good.
        """
        reason = _still_there(directory)
        if reason and time.time() - (directory / "spec.json").stat().st_mtime < _TRYING:
            raise UserError(
                f"The database of lab {directory.name} cannot be cleared: {reason}",
                "The next session tries again.",
            )


def _still_there(directory: Path) -> str:
    """Try to take out what may be in the database; return why it cannot be, else nothing."""
    if not is_promised(directory):
        return ""
    argv = undo_argv(directory, "clear")
    done = subprocess.run(argv, capture_output=True, text=True)
    return last_line(done.stderr, "it gave no reason") if done.returncode else ""


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
