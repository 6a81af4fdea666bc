"""How labs end: asked to, or cleared away when their supervisor was killed.

A supervisor that gets SIGKILL takes its children along (see `common.spawn`), but not their
children; these are found by the session that each child led. So `reap` is run whenever a lab is
about to start.
"""

import json
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from common.errors import UserError
from common.files import short
from common.paths import labs_dir, session_dir
from common.spawn import is_same_process, session_members, signal_all
from common.waiting import until
from lab.kinds import boot_of
from lab.spec import read_owner, read_spec
from lab.state import LabState
from lab.undo import Undo

log = logging.getLogger(__name__)

_BEGINNING = 600.0
"""Seconds; longer than it takes to write down whose a lab is once its folder is made."""


def ask(directory: Path, timeout: float = 30.0, **request: Any) -> None:
    """Send one request to the supervisor of the lab in `directory`: one JSON line each way.

    Raises UserError when no supervisor answers, or when it refuses the request.
    """
    try:
        with socket.socket(socket.AF_UNIX) as link, short(directory / "control.sock") as name:
            link.settimeout(timeout)
            link.connect(name)
            link.sendall(json.dumps(request).encode() + b"\n")
            line = link.makefile().readline()
    except OSError as error:
        raise UserError(
            f"The lab in {directory} does not answer: {error}.", "See `python -m lab status`."
        ) from error
    answer: dict[str, Any] = json.loads(line or '{"error": "it hung up"}')
    if "error" in answer:
        raise UserError(f"The lab refused {request.get('op')}: {answer['error']}.")


def take_down(directory: Path) -> None:
    """End the lab in `directory`, whatever state it is in, and remove the folder."""
    timeout = 5.0
    if (directory / "spec.json").exists():
        timeout = boot_of(read_spec(directory).kind).end_seconds
    state = LabState.load(directory)
    if state and _is_supervised(state):
        try:
            ask(directory, timeout=5.0, op="stop")
        except UserError:
            os.kill(state.supervisor, signal.SIGTERM)
        if not until(lambda: not _is_supervised(state), timeout, interval=0.05):
            os.kill(state.supervisor, signal.SIGKILL)
            time.sleep(0.2)
    reap(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _is_supervised(state: LabState) -> bool:
    return is_same_process(state.supervisor, state.created)


def _folders(*, supervised: bool) -> Iterator[tuple[Path, LabState]]:
    """Go through the labs whose supervisor lives, or those whose does not, by name."""
    for directory in sorted(labs_dir().iterdir()):
        state = LabState.load(directory)
        if state and _is_supervised(state) is supervised:
            yield directory, state


def running() -> list[Path]:
    """Return the folders of the labs that live now, oldest first."""
    found = [(state.created, directory) for directory, state in _folders(supervised=True)]
    return [directory for _, directory in sorted(found)]


def reap(known: Path | None = None) -> int:
    """Kill and remove what labs left that nobody supervises; return how many labs there were.

    Each is told, but for the one that is `known` to be ending.
    """
    with FileLock(labs_dir().parent / "reap.lock"):  # others see half of what is being removed
        return _reap(known)


def _reap(known: Path | None) -> int:
    count = 0
    _forget_sessions()
    for directory in _never_begun():
        shutil.rmtree(directory, ignore_errors=True)
    for directory, state in _folders(supervised=False):
        Undo(directory).run()
        signal_all(_survivors(state), signal.SIGKILL)
        if not _is_cleared(directory):
            continue
        shutil.rmtree(directory, ignore_errors=True)
        if directory != known:
            log.info("Removed the remains of the lab %s", directory.name)
        count += 1
    return count


def _never_begun() -> Iterator[Path]:
    """Go through the labs whose owner was killed before their supervisor had done anything."""
    for directory in sorted(labs_dir().iterdir()):
        if LabState.load(directory) is None:
            try:
                owner = read_owner(directory)
            except (OSError, ValueError, LookupError):
                gone = time.time() - directory.stat().st_mtime > _BEGINNING
            else:
                gone = owner is not None and not is_same_process(*owner)
            if gone:
                yield directory


def _forget_sessions() -> None:
    """Remove the folders of test sessions whose process was killed."""
    for folder in session_dir(0, 0).parent.glob("*-*"):
        pid, _, born = folder.name.partition("-")
        # The folder's name has whole seconds.
        if not is_same_process(int(pid), int(born) + 0.5):
            shutil.rmtree(folder, ignore_errors=True)


def _survivors(state: LabState) -> list[psutil.Process]:
    """Return the processes that a lab without supervisor left."""
    oldest = min((each.created for each in state.processes.values()), default=0.0)
    members = session_members(each.pid for each in state.processes.values())
    return [process for process in members if _born(process) >= oldest - 1.0]


def _born(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _is_cleared(directory: Path) -> bool:
    """Remove what a lab has beside its processes; False where that has to be tried again later."""
    try:
        spec = read_spec(directory)
        boot_of(spec.kind).clear(directory, spec)
    except UserError as error:
        log.warning("What an earlier lab left stays for now: %s", error)
        return False
    return True
