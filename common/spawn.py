"""Starting and ending operating-system processes so that nothing outlives its lab.

Every child leads a session of its own, so all that it forks can be found by the session's number,
and asks the kernel to be killed when the process that started it dies (prctl(2),
PR_SET_PDEATHSIG): a SIGKILL of the supervisor takes its children along.
"""

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from common.environment import UMASK
from common.waiting import until

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FILES = 16_384
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; Linux only."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that none is lost to init."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def raise_file_limit() -> None:
    """Allow this process, and what it starts, as many open files as it may allow itself.

    A shell's usual 1024, or 256, are for programs that select(2); a proxy has two for each link.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@dataclass(frozen=True)
class User:
    """Whom a child runs as; PostgreSQL refuses to be root."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    user: User | None = None,
    stdout: int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child that leads its own session and writes to `log`.

    `stdout=subprocess.PIPE` keeps standard output for the caller (to read a port from);
    `pass_fds` are the descriptors that it inherits.
    """
    with log.open("ab") as sink:
        return subprocess.Popen(
            [str(part) for part in argv],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            start_new_session=True,
            preexec_fn=die_with_parent,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            umask=UMASK,
            pass_fds=pass_fds,
        )


def family(pid: int) -> list[psutil.Process]:
    """Return a child and all that it forked, the child first; empty when it is gone."""
    try:
        parent = psutil.Process(pid)
        found = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        found = []
    known = {process.pid for process in found}
    return found + [p for p in session_members({pid}) if p.pid not in known]


def session_members(sessions: Iterable[int]) -> list[psutil.Process]:
    """Return the processes of the given sessions (a child's pid is its session's number)."""
    wanted = set(sessions)
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in wanted:
                members.append(process)
        except (ProcessLookupError, PermissionError):
            continue
    return members


def signal_family(pid: int, number: signal.Signals) -> None:
    """Send a signal to a child and all that it forked."""
    signal_all(family(pid), number)


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each of the processes that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def end_all(pids: Iterable[int], *, grace: float) -> None:
    """End the families of `pids`: SIGTERM at first, SIGKILL for who is there after `grace` s."""
    members = [process for pid in pids for process in family(pid)]
    signal_all(members, signal.SIGCONT)
    signal_all(members, signal.SIGTERM)
    _, alive = psutil.wait_procs(members, timeout=grace)
    signal_all(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


def is_same_process(pid: int, created: float) -> bool:
    """Return whether `pid` still is the process that was born at `created` (pids are reused)."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and abs(process.create_time() - created) < 1.0
    except psutil.NoSuchProcess:
        return False


class Child(Protocol):
    """A process that was started: by subprocess, or in another way that knows how it ended."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        ...


def wait_exit(process: Child, timeout: float) -> int | None:
    """Return the exit code, None when the process is still there after `timeout` seconds."""
    until(lambda: process.poll() is not None, timeout, interval=0.02)
    return process.poll()
