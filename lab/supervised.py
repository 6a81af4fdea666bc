"""A lab that lives in a folder under a supervisor of its own, whatever kind it is."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import kubernetes
import psycopg
import requests
from kubernetes.client import ApiException
from psycopg.conninfo import make_conninfo
from urllib3.exceptions import HTTPError

from common.errors import UserError
from common.waiting import until
from lab.api import AirflowAPI
from lab.base import WORKERS, Lab
from lab.database import carry_freely, connect, unbound
from lab.ending import ask, take_down
from lab.kube.client import api_client
from lab.ready import unfinished
from lab.spec import LabSpec, read_spec, write_request
from lab.state import LabState
from lab.undo import Undo

AILING = (UserError, OSError, ApiException, HTTPError, psycopg.Error)
"""What asking a lab can end in while its parts do not answer; requests' errors are OSErrors."""

# Seconds in which a scheduler makes one more pod, one a loop, of the tasks that it had in hand when
# their run ended: two were too few on a busy machine.
_IN_HAND = 5.0
_WAKING = 300.0
_SLOTS = "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT"


log = logging.getLogger(__name__)


class SupervisedLab(Lab):
    """A running lab, found by its folder; any process may hold one."""

    pace: float = 1.0
    unidentified: str = ""
    release: str = ""
    neighbours: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    worker_pods: str = WORKERS
    request_control: str = ""
    answers: Path | None = None
    powers: ClassVar[frozenset[str]]
    """What a lab of this kind can do to itself."""

    cannot: ClassVar[Mapping[str, str]] = {}
    """Why it cannot do the rest."""

    clean_seconds: ClassVar[float] = 30.0

    def __init__(self, directory: Path) -> None:
        state = LabState.load(directory)
        if state is None or state.phase != "ready":
            raise UserError(
                f"There is no running lab in {directory}.", "See `python -m lab status`."
            )
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.spec = read_spec(directory)
        self.airflow = self.spec.airflow
        self.endpoints = state.endpoints
        self.boot = state.boot
        self.undo = Undo(directory)
        self.proxy_control = f"http://127.0.0.1:{state.endpoints['control']}"
        self.api = AirflowAPI(f"http://127.0.0.1:{state.endpoints['api']}")

    @property
    def state(self) -> LabState:
        """Return what the supervisor last wrote; UserError when the lab is gone."""
        state = LabState.load(self.directory)
        if state is None:
            raise UserError(f"The lab in {self.directory} is gone.", "Start it again.")
        return state

    def name_of(self, client: str) -> str:
        """Return the process of a database session: here it is what the session calls itself."""
        return client

    def dsn(self) -> str:
        """Return libpq conninfo of the metadata database, as its ordinary owner, past the proxy."""
        return conninfo(self.endpoints)

    def kubernetes(self) -> Any:
        """Return a `kubernetes.client.CoreV1Api`, through the proxy that the kubeconfig names."""
        return kubernetes.client.CoreV1Api(api_client(self.kubeconfig))

    @classmethod
    def never(cls, power: str) -> str | None:
        """Say why no lab of this kind has a power; None where it has, or only the lab knows."""
        if power in cls.powers:
            return None
        return cls.cannot.get(power, f"the {cls.kind} lab cannot do that ({power})")

    def missing(self, power: str) -> str | None:
        """Return why the lab has not a power, None when it has it."""
        if (reason := self.never(power)) or power != "hold":
            return reason
        with connect(self.dsn()) as connection:
            return unbound(connection)

    def pausing(self, dag_id: str) -> Callable[[], None]:
        """Return what has a DAG go on which is about to be paused; `clean` does so, too."""
        return partial(self.api.pause_dag, dag_id, paused=False)

    def detach(self) -> None:
        """Let the lab outlive the process that started it."""
        ask(self.directory, op="detach")
        write_request(self.directory, self.spec, None)

    def stop(self) -> None:
        """Take the lab down and remove its folder."""
        take_down(self.directory)

    @classmethod
    def lease(
        cls,
        spec: LabSpec,  # noqa: ARG003
        timeout: float,  # noqa: ARG003
        *,
        alone: bool,  # noqa: ARG003
    ) -> AbstractContextManager[None]:
        """Lend what labs of this kind share, such as a cluster, to the lab of `spec`.

        `alone`: to no other meanwhile. UserError when it is not to be had in `timeout` seconds.
        """
        return nullcontext()

    def clean(self) -> None:
        """Return the lab to how it was booted, through what Airflow itself offers for it.

        Ends all runs, waits for their pods to go, and deletes the runs. Raises UserError when
        something does not go in `clean_seconds`: boot another lab then.
        """
        for process in self.daemons:
            self.resume(process)
        carry_freely(self.proxy_control)
        try:
            self._take_back()
            active = [run for run in self.api.runs() if run[2] in ("running", "queued")]
            for dag_id, run_id, _ in active:
                self.api.mark_run(dag_id, run_id)
            self._end_pods()
            while runs := self.api.runs():
                for dag_id, run_id, _ in runs:
                    self.api.delete_run(dag_id, run_id)
            if active:
                self._end_pods(_IN_HAND)
        except requests.RequestException as error:
            raise UserError(f"The lab's API server does not answer: {error}") from error
        if problems := self.problems():
            raise UserError(f"The lab did not recover: {'; '.join(problems)}.")
        self.wake()

    def wake(self) -> None:
        """Have the API server make what it answers workers with, lest their first one wait for it.

        It does so at the first request, and answers nobody meanwhile: on a busy machine for longer
        than a worker asks for its start. Somebody else's deployment is left as it is.
        """
        if self.spec.kind == "cluster":
            return
        try:
            AirflowAPI(self.api.base_url, _WAKING).wake_for_workers()
        except (requests.RequestException, UserError) as error:
            log.warning("The API server may be slow to answer the first worker: %s", error)

    def _take_back(self) -> None:
        """Undo what a test has changed and not put back, for its process died."""
        if self.spec.dags:  # the user's own, of which some may be paused as they should
            return
        for dag_id in self.api.paused():
            self.api.pause_dag(dag_id, paused=False)
        slots = int(self.spec.env.get(_SLOTS, 128))
        if self.api.slots("default_pool") != slots:
            self.api.resize_pool("default_pool", slots)

    def _end_pods(self, quiet: float = 0.0) -> None:
        """Delete the pods of workers until there are none, and none came for so many seconds."""
        since = time.monotonic()

        def gone() -> bool:
            nonlocal since
            if not self._has_no_pods():
                since = time.monotonic()
                return False
            return time.monotonic() >= since + quiet

        if not until(gone, self.clean_seconds + quiet, interval=0.3):
            raise UserError(f"{len(self._worker_pods())} pods of an earlier test did not end.")

    def _worker_pods(self) -> list[Any]:
        pods = self.kubernetes().list_namespaced_pod(self.namespace, label_selector=WORKERS)
        return list(pods.items)

    def _has_no_pods(self) -> bool:
        """Delete the pods of workers; return whether there were none, nor tasks that need one."""
        pods = self._worker_pods()
        if pods:
            self.kubernetes().delete_collection_namespaced_pod(
                self.namespace, label_selector=WORKERS, grace_period_seconds=1
            )
        return not pods and not unfinished(self.dsn())


def conninfo(endpoints: Mapping[str, Any]) -> str:
    """Return libpq conninfo of the metadata database of a lab that has its own, on loopback."""
    return make_conninfo(
        host="127.0.0.1",
        port=endpoints["postgres"],
        user="airflow",
        dbname="airflow",
        password=endpoints["password"],
        application_name="ha-chaos",
    )
