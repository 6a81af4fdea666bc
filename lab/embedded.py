"""The embedded lab, as those see it who use it: booted, spoken to, cleaned, taken down."""

import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from psycopg.conninfo import make_conninfo

from lab import control
from lab.api import AirflowAPI
from lab.clean import clean
from lab.components import PROJECT
from lab.errors import LabError
from lab.kubeclient import core_v1
from lab.paths import cache_dir, labs_dir
from lab.postgres import DATABASE, OWNER
from lab.ready import live_schedulers
from lab.reaper import reap
from lab.settings import NAMESPACE
from lab.spawn import is_same_process
from lab.spec import LabSpec, LabState, ProcessState

log = logging.getLogger(__name__)

_NEEDED_BYTES = 500_000_000


class EmbeddedLab:
    """A running embedded lab, found by its folder; any process may hold one."""

    kind = "embedded"
    namespace = NAMESPACE

    def __init__(self, directory: Path) -> None:
        state = LabState.load(directory)
        if state is None or state.phase != "ready":
            raise LabError(
                f"There is no running lab in {directory}.", "See `python -m lab status`."
            )
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.spec = read_spec(directory)
        self.airflow = self.spec.airflow
        self.schedulers = tuple(f"scheduler-{n}" for n in range(1, self.spec.schedulers + 1))
        self.endpoints = state.endpoints
        self.boot = state.boot
        self.proxy_control = f"http://127.0.0.1:{state.endpoints['control']}"
        self.api = AirflowAPI(f"http://127.0.0.1:{state.endpoints['api']}")

    @property
    def state(self) -> LabState:
        """Return what the supervisor last wrote; LabError when the lab is gone."""
        state = LabState.load(self.directory)
        if state is None:
            raise LabError(f"The lab in {self.directory} is gone.", "Start it again.")
        return state

    def dsn(self) -> str:
        """Return libpq conninfo of the metadata database, as its ordinary owner, past the proxy."""
        return make_conninfo(
            host="127.0.0.1",
            port=self.endpoints["postgres"],
            user=OWNER,
            dbname=DATABASE,
            password=self.endpoints["password"],
            application_name="ha-chaos",
        )

    def kubernetes(self) -> Any:
        """Return a `kubernetes.client.CoreV1Api` for the lab's Kubernetes API."""
        return core_v1(self.kubeconfig)

    def pause(self, process: str) -> None:
        """Freeze one process (SIGSTOP on all of its processes) until `resume`."""
        control.ask(self.directory, op="pause", process=process)

    def resume(self, process: str) -> None:
        """Let a frozen process go on."""
        control.ask(self.directory, op="resume", process=process)

    def kill(self, process: str) -> None:
        """Kill one process (SIGKILL), as an out-of-memory kill would."""
        control.ask(self.directory, op="kill", process=process)

    def start(self, process: str) -> None:
        """Start a killed process again."""
        control.ask(self.directory, op="start", process=process)

    def pod_log(self, name: str) -> str | None:
        """Return what a worker pod wrote, None where nothing is kept."""
        path = self.directory / "pods" / f"{name}.log"
        return path.read_text(errors="replace") if path.is_file() else None

    def logs(self) -> dict[str, Path]:
        """Return the log file of each component, by process name."""
        return {name: Path(each.log) for name, each in self.state.processes.items()}

    def ailments(self) -> list[str]:
        """Return what is wrong with the lab, in words; empty when it is healthy."""
        state = self.state
        if state.phase != "ready":
            return [f"the lab is {state.phase}"]
        found = [
            f"{name} {complaint}"
            for name, process in state.processes.items()
            if (complaint := _complaint(process))
        ]
        if not found and (alive := live_schedulers(self.dsn())) < len(self.schedulers):
            found.append(f"{alive} of {len(self.schedulers)} schedulers have a fresh heartbeat")
        return found

    def clean(self) -> None:
        """Return the lab to how it was booted: no runs, no pods; LabError when it will not."""
        clean(self)

    def detach(self) -> None:
        """Let the lab outlive the process that started it."""
        control.ask(self.directory, op="detach")
        write_request(self.directory, self.spec, None)

    def stop(self, timeout: float = 30.0) -> None:
        """Take the lab down and remove its folder."""
        take_down(self.directory, timeout)


def _complaint(process: ProcessState) -> str:
    """Look at the process itself: the supervisor learns of an end a moment later."""
    if process.exit_code is not None:
        return f"ended with exit code {process.exit_code}"
    if not is_same_process(process.pid, process.created):
        return "ended"
    frozen = psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    return "is frozen" if frozen else ""


def read_spec(directory: Path) -> LabSpec:
    """Return what was asked of the lab in `directory`."""
    return LabSpec.from_json(json.loads((directory / "spec.json").read_text())["spec"])


def read_owner(directory: Path) -> tuple[int, float] | None:
    """Return the process that the lab in `directory` ends with, None for a lab that stays."""
    owner = json.loads((directory / "spec.json").read_text())["owner"]
    return (int(owner[0]), float(owner[1])) if owner else None


def write_request(directory: Path, spec: LabSpec, owner: tuple[int, float] | None) -> None:
    """Write down what lab is wanted, and whom it ends with."""
    request = directory / "spec.json"
    request.touch(0o600)
    request.write_text(json.dumps({"spec": spec.to_json(), "owner": owner}))


def start(spec: LabSpec, *, owner: tuple[int, float] | None) -> EmbeddedLab:
    """Boot a lab and return when it is ready; it ends with `owner` (pid, birth), if there is one.

    Raises LabError with the supervisor's reason when it does not come up, and leaves nothing.
    """
    reap()
    if shutil.disk_usage(labs_dir()).free < _NEEDED_BYTES:
        raise LabError(
            f"There is less than {_NEEDED_BYTES // 1_000_000} MB free under {labs_dir()}.",
            "Free some, or set HA_CHAOS_CACHE to a folder on a larger disk.",
        )
    directory = labs_dir() / f"{spec.airflow.version}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o711)
    write_request(directory, spec, owner)
    with (directory / "supervisor.log").open("ab") as sink:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "lab.supervisor", str(directory)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        _await(directory, supervisor)
    except LabError as error:
        kept = _keep_logs(directory)
        take_down(directory, 30.0)
        raise LabError(error.message, error.hint or f"Its logs: {kept}") from error
    except BaseException:
        take_down(directory, 30.0)
        raise
    return EmbeddedLab(directory)


def _keep_logs(directory: Path) -> Path:
    """Move the logs of a lab that did not come up to where the next failure replaces them."""
    kept = cache_dir() / "last-failure"
    shutil.rmtree(kept, ignore_errors=True)
    if (directory / "logs").exists():
        shutil.copytree(directory / "logs", kept)
    return kept


def _await(directory: Path, supervisor: subprocess.Popen[bytes]) -> None:
    told = ""
    while True:
        code = supervisor.poll()
        state = LabState.load(directory) or LabState()
        if state.phase == "ready":
            parts = ", ".join(f"{part} {seconds} s" for part, seconds in state.boot.items())
            log.info("The lab is ready: %s", parts)
            return
        if state.phase == "failed":
            raise LabError(state.error, state.hint)
        if code is not None:
            text = (directory / "supervisor.log").read_text(errors="replace").strip()
            last = (text.splitlines() or ["it wrote nothing"])[-1]
            raise LabError(f"The lab's supervisor ended (exit code {code}): {last}")
        if state.doing and state.doing != told:
            told = state.doing
            log.info("Booting the lab: %s", told)
        time.sleep(0.1)


def take_down(directory: Path, timeout: float) -> None:
    """End the lab in `directory`, whatever state it is in, and remove the folder."""
    state = LabState.load(directory)
    if state and is_same_process(state.supervisor, state.created):
        try:
            control.ask(directory, timeout=5.0, op="stop")
        except LabError:
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
