"""The life of a lab of any kind: started, and found again by its folder."""

import logging
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common.errors import UserError
from common.files import last_line
from common.paths import PROJECT, cache_dir, labs_dir
from lab.ending import reap, take_down
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
    if shutil.disk_usage(labs_dir()).free < _NEEDED_BYTES:
        raise UserError(
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
    except UserError as error:
        kept = _keep_logs(directory)
        take_down(directory)
        raise UserError(error.message, error.hint or f"Its logs: {kept}") from error
    except BaseException:
        take_down(directory)
        raise
    return open_lab(directory)


def _keep_logs(directory: Path) -> Path:
    """Move the logs of a lab that did not come up to where the next failure replaces them."""
    kept = cache_dir() / "last-failure"
    shutil.rmtree(kept, ignore_errors=True)
    if (directory / "logs").exists():
        shutil.copytree(directory / "logs", kept)
        shutil.copy(directory / "supervisor.log", kept)
    return kept


def _await(directory: Path, supervisor: subprocess.Popen[bytes]) -> None:
    doing = ""
    while True:
        code = supervisor.poll()
        state = LabState.load(directory) or LabState()
        if state.phase == "ready":
            parts = ", ".join(f"{part} {seconds} s" for part, seconds in state.boot.items())
            log.info("The lab is ready: %s", parts)
            return
        if state.phase == "failed":
            raise UserError(state.error, state.hint)
        if code is not None:
            text = (directory / "supervisor.log").read_text(errors="replace")
            last = last_line(text)
            raise UserError(f"The lab's supervisor ended (exit code {code}): {last}")
        if state.doing and state.doing != doing:
            doing = state.doing
            log.info("Booting the lab: %s", doing)
        time.sleep(0.1)
