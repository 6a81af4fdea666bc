"""A lab that lives in a folder under a supervisor of its own, whatever kind it is."""

import os
import shutil
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from common.errors import UserError
from common.paths import labs_dir
from common.spawn import is_same_process
from lab import control
from lab.api import AirflowAPI
from lab.database import connect, unbound
from lab.kube.names import WORKERS
from lab.kubeclient import core_v1
from lab.reaper import reap
from lab.request import read_spec, write_request
from lab.spec import LabState
from lab.undo import Undo

# Seconds for the supervisor to end everything; a namespace goes when its last pod is gone.
_PATIENCE = {"embedded": 30.0, "kind": 150.0, "cluster": 60.0}


class SupervisedLab:
    """A running lab, found by its folder; any process may hold one."""

    kind: str
    pace: float = 1.0
    workers: str
    unidentified: str = ""
    release: str = ""
    neighbours: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    worker_pods: str = WORKERS
    powers: ClassVar[frozenset[str]]
    """What a lab of this kind can do to itself."""

    cannot: ClassVar[Mapping[str, str]] = {}
    """Why it cannot do the rest."""

    namespace: str

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

    def kubernetes(self) -> Any:
        """Return a `kubernetes.client.CoreV1Api` for the lab's Kubernetes API."""
        return core_v1(self.kubeconfig)

    @abstractmethod
    def dsn(self) -> str:
        """Return libpq conninfo of the metadata database, as its ordinary owner."""

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

    def detach(self) -> None:
        """Let the lab outlive the process that started it."""
        control.ask(self.directory, op="detach")
        write_request(self.directory, self.spec, None)

    def stop(self) -> None:
        """Take the lab down and remove its folder."""
        take_down(self.directory)


def take_down(directory: Path) -> None:
    """End the lab in `directory`, whatever state it is in, and remove the folder."""
    timeout = _PATIENCE[read_spec(directory).kind] if (directory / "spec.json").exists() else 5.0
    state = LabState.load(directory)
    if state and is_same_process(state.supervisor, state.created):
        try:
            control.ask(directory, timeout=5.0, op="stop")
        except UserError:
            os.kill(state.supervisor, 15)
        deadline = time.monotonic() + timeout
        while is_same_process(state.supervisor, state.created) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_same_process(state.supervisor, state.created):
            os.kill(state.supervisor, 9)
            time.sleep(0.2)
    reap()
    shutil.rmtree(directory, ignore_errors=True)


def running() -> list[Path]:
    """Return the folders of the labs that live now, oldest first."""
    found = []
    for directory in labs_dir().iterdir():
        state = LabState.load(directory)
        if state and is_same_process(state.supervisor, state.created):
            found.append((state.created, directory))
    return [directory for _, directory in sorted(found)]
