"""Clears away what labs left whose supervisor was killed.

A supervisor that gets SIGKILL takes its children along (see `common.spawn`), but not their
children; these are found by the session that each child led. Run whenever a lab is about to start.
"""

import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from common.errors import UserError
from common.paths import labs_dir, session_dir
from common.spawn import is_same_process, session_members
from lab.kind.cluster import Cluster
from lab.kube import namespaces
from lab.kube.names import namespace_of
from lab.request import read_spec
from lab.spec import LabState
from lab.undo import Undo

log = logging.getLogger(__name__)


def abandoned() -> Iterator[Path]:
    """Yield the folders of labs that nobody supervises any more."""
    for directory in sorted(labs_dir().iterdir()):
        state = LabState.load(directory)
        if state is None:
            continue
        if not is_same_process(state.supervisor, state.created):
            yield directory


def leftovers(directory: Path) -> list[psutil.Process]:
    """Return the processes that a lab without supervisor left."""
    state = LabState.load(directory)
    if state is None:
        return []
    oldest = min((each.created for each in state.processes.values()), default=0.0)
    members = session_members(each.pid for each in state.processes.values())
    return [process for process in members if _born(process) >= oldest - 1.0]


def _born(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _namespace_removed(directory: Path) -> bool:
    """Remove the namespace of a deployed lab; False where that has to be tried again later."""
    kubeconfig = directory / "kubeconfig"
    try:
        deployment = read_spec(directory).deployment
        if deployment is None or not kubeconfig.exists():
            return True
        if not Cluster(deployment.cluster).nodes():
            return True
        namespaces.remove(kubeconfig, namespace_of(directory))
    except UserError as error:
        log.warning("What an earlier lab left stays for now: %s", error)
        return False
    return True


def _forget_sessions() -> None:
    """Remove the folders of test sessions whose process was killed."""
    for folder in session_dir(0, 0).parent.glob("*-*"):
        pid, _, born = folder.name.partition("-")
        # The folder's name has whole seconds.
        if not is_same_process(int(pid), int(born) + 0.5):
            shutil.rmtree(folder, ignore_errors=True)


def reap() -> int:
    """Kill and remove what abandoned labs left; return how many labs there were."""
    count = 0
    _forget_sessions()
    for directory in abandoned():
        Undo(directory).run()
        for process in leftovers(directory):
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        if not _namespace_removed(directory):
            continue
        shutil.rmtree(directory, ignore_errors=True)
        log.info("Removed the remains of the lab %s", directory.name)
        count += 1
    return count
