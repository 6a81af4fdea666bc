"""The life of a lab of any kind: started, and found again by its folder."""

import logging
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common.environment import UMASK, inherited
from common.errors import UserError
from common.files import last_line
from common.paths import CACHE_VARIABLE, PROJECT, cache_dir, labs_dir
from common.spawn import is_same_process
from lab.ending import ask, reap, take_down
from lab.kinds import lab_of
from lab.spec import LabSpec, read_spec, write_request
from lab.state import LabState
from lab.supervised import SupervisedLab

log = logging.getLogger(__name__)

_NEEDED_BYTES = 500_000_000


def open_lab(directory: Path) -> SupervisedLab:
    """Return the running lab of a folder; UserError when there is none."""
    lab: SupervisedLab = lab_of(read_spec(directory).kind)(directory)
    return lab


def start(spec: LabSpec, *, owner: tuple[int, float] | None) -> SupervisedLab:
    """Boot a lab and return when it is ready; it ends with `owner` (pid, birth), if there is one.

    Raises UserError with the supervisor's reason when it does not come up, and leaves nothing.
    """
    reap()
    require_disk()
    directory = labs_dir() / f"{spec.airflow.version}-{secrets.token_hex(4)}"
    directory.mkdir()
    directory.chmod(0o711)
    write_request(directory, spec, owner)
    with (directory / "supervisor.log").open("ab") as sink:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "lab.supervisor", str(directory)],
            cwd=PROJECT,
            env=inherited(),
            umask=UMASK,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    return _ready(directory, lambda: supervisor.poll() is not None)


def require_disk() -> None:
    """Raise UserError unless there is room for one more lab on the disk of the cache."""
    if shutil.disk_usage(labs_dir()).free < _NEEDED_BYTES:
        raise UserError(
            f"There is less than {_NEEDED_BYTES // 1_000_000} MB free under {labs_dir()}.",
            f"Free some, or set {CACHE_VARIABLE} to a folder on a larger disk.",
        )


def reboot(directory: Path, spec: LabSpec, *, owner: tuple[int, float] | None) -> SupervisedLab:
    """Have a running lab boot as another, where it stands; as `start`, and much sooner.

    Raises UserError where it cannot, or does not come up; then it is gone.
    """
    state = LabState.load(directory) or LabState()
    if not spec.takes_place_of(read_spec(directory)):
        raise UserError(f"The lab {directory.name} cannot become another.")
    write_request(directory, spec, owner)
    ask(directory, op="reboot")
    return _ready(directory, lambda: not is_same_process(state.supervisor, state.created))


def _ready(directory: Path, ended: Callable[[], bool]) -> SupervisedLab:
    """Return a lab once it is ready; otherwise leave nothing of it, and raise why."""
    try:
        _await(directory, ended)
    except UserError as error:
        kept = _keep_logs(directory)
        take_down(directory)
        raise UserError(error.message, error.hint or f"Its logs: {kept}") from error
    except BaseException:
        take_down(directory)
        raise
    lab = open_lab(directory)
    lab.wake()
    return lab


def _keep_logs(directory: Path) -> Path:
    """Move the logs of a lab that did not come up to where the next failure replaces them."""
    kept = cache_dir() / "last-failure"
    shutil.rmtree(kept, ignore_errors=True)
    if (directory / "logs").exists():
        shutil.copytree(directory / "logs", kept)
        shutil.copy(directory / "supervisor.log", kept)
    return kept


def _await(directory: Path, ended: Callable[[], bool]) -> None:
    doing = ""
    while True:
        over = ended()
        state = LabState.load(directory) or LabState()
        if state.phase == "ready":
            parts = ", ".join(f"{part} {seconds} s" for part, seconds in state.boot.items())
            log.info("The lab is ready: %s", parts)
            return
        if state.phase == "failed":
            raise UserError(state.error, state.hint)
        if over:
            text = (directory / "supervisor.log").read_text(errors="replace")
            raise UserError(f"The lab's supervisor ended: {last_line(text)}")
        if state.doing and state.doing != doing:
            doing = state.doing
            log.info("Booting the lab: %s", doing)
        time.sleep(0.05)
