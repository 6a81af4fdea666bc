"""Who may use a kind cluster now: many at once, or one who disturbs all of it.

File locks (flock) under the cache: they hold across sessions and pytest-xdist's workers, and the
kernel drops them when their holder dies. Whoever wants the cluster alone stands in the turnstile,
so that nobody else comes in while those inside finish; without it the stream of sharers never ends.
"""

import fcntl
import logging
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from common.errors import UserError
from common.paths import cache_dir
from common.waiting import Deadline, until

log = logging.getLogger(__name__)

_STEP = 0.05
_QUIET = 1.0

# As kind's own check has it.
_NAME = re.compile(r"[a-z0-9.-]+")


def cluster_dir(name: str) -> Path:
    """Return the folder of a cluster, made if missing; UserError for a name that kind refuses."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UserError(
            f"{name!r} is not a valid name for a kind cluster.",
            "Use lower-case letters, digits, dots and dashes.",
        )
    path = cache_dir() / "kind" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def shared(cluster: str, timeout: float = 3600.0) -> AbstractContextManager[None]:
    """Use a cluster beside others; waits for whoever has it alone, at most `timeout` seconds.

    Raises UserError when the time is up. Not to be taken in the same process as `exclusive`.
    """
    return _leased(cluster, fcntl.LOCK_SH, timeout, "for it to be shared again")


def exclusive(cluster: str, timeout: float = 3600.0) -> AbstractContextManager[None]:
    """Have a cluster alone; waits until everybody has left it, at most `timeout` seconds.

    Meanwhile nobody new comes in. Raises UserError when the time is up; a process that shares the
    cluster itself must leave first, or it waits for itself.
    """
    return _leased(cluster, fcntl.LOCK_EX, timeout, "to have it alone")


@contextmanager
def _leased(cluster: str, how: int, timeout: float, what_for: str) -> Iterator[None]:
    """Take the lease; the turnstile before it is left at once, so that all come in turn."""
    folder, deadline = cluster_dir(cluster), Deadline(timeout)
    with (folder / "turnstile").open("a") as turnstile, (folder / "lease").open("a") as lease:
        _lock(turnstile, fcntl.LOCK_EX, deadline, cluster, what_for)
        _lock(lease, how, deadline, cluster, what_for)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


def _lock(file: IO[str], how: int, deadline: Deadline, cluster: str, what_for: str) -> None:
    """Lock an open file; closing it gives its lock up."""

    def locked() -> bool:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    begun = time.monotonic()
    if until(locked, min(_QUIET, deadline.left), _STEP):
        return
    if not deadline.passed:
        log.info("Waiting for the kind cluster %s, %s.", cluster, what_for)
    got = until(locked, deadline.left, _STEP)
    waited = time.monotonic() - begun
    if not got:
        raise UserError(
            f"Waited {waited:.0f} s for the kind cluster {cluster}, {what_for}.",
            "Another session uses it; wait for that, or use another --kind-name.",
        )
    log.info("Waited %.0f s for the kind cluster.", waited)
