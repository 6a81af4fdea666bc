"""Who may use a kind cluster now: many at once, or one who disturbs all of it.

File locks (flock) under the cache: they hold across sessions and pytest-xdist's workers, and the
kernel drops them when their holder dies. Whoever wants the cluster alone stands in the turnstile,
so that nobody else comes in while those inside finish; without it the stream of sharers never ends.
"""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import UserError
from lab.kind.place import cluster_dir

log = logging.getLogger(__name__)

_STEP = 0.05
_QUIET = 1.0


@contextmanager
def shared(cluster: str, timeout: float = 3600.0) -> Iterator[None]:
    """Use a cluster beside others; waits for whoever has it alone, at most `timeout` seconds.

    Raises UserError when the time is up. Not to be taken in the same process as `exclusive`.
    """
    with _leased(cluster, fcntl.LOCK_SH, timeout, "for it to be shared again"):
        yield


@contextmanager
def exclusive(cluster: str, timeout: float = 3600.0) -> Iterator[None]:
    """Have a cluster alone; waits until everybody has left it, at most `timeout` seconds.

    Meanwhile nobody new comes in. Raises UserError when the time is up; a process that shares the
    cluster itself must leave first, or it waits for itself.
    """
    with _leased(cluster, fcntl.LOCK_EX, timeout, "to have it alone"):
        yield


@contextmanager
def _leased(cluster: str, how: int, timeout: float, what_for: str) -> Iterator[None]:
    """Take the lease; the turnstile before it is left at once, so that all come in turn."""
    deadline = time.monotonic() + timeout
    with _opened(cluster, "turnstile") as turnstile, _opened(cluster, "lease") as lease:
        _lock(turnstile, fcntl.LOCK_EX, deadline, cluster, what_for)
        _lock(lease, how, deadline, cluster, what_for)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


@contextmanager
def _opened(cluster: str, name: str) -> Iterator[IO[str]]:
    """Open a lock file; closing it gives its lock up."""
    path: Path = cluster_dir(cluster) / name
    with path.open("a") as file:
        yield file


def _lock(file: IO[str], how: int, deadline: float, cluster: str, wish: str) -> None:
    begun = time.monotonic()
    told = False
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now > deadline:
                raise UserError(
                    f"Waited {now - begun:.0f} s for the kind cluster {cluster}, {wish}.",
                    "Another session uses it; wait for that, or use another --kind-name.",
                ) from None
            if not told and now - begun > _QUIET:
                told = True
                log.info("Waiting for the kind cluster %s, %s.", cluster, wish)
            time.sleep(_STEP)
        else:
            if told:
                log.info("Waited %.0f s for the kind cluster.", time.monotonic() - begun)
            return
