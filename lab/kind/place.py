"""Where we keep what belongs to a kind cluster: its kubeconfig, its locks."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import UserError
from common.paths import cache_dir

log = logging.getLogger(__name__)

DEFAULT_NAME = "ha-chaos"

# As kind's own check has it.
_NAME = re.compile(r"[a-z0-9.-]+")


def cluster_dir(name: str) -> Path:
    """Return the folder of a cluster, made if missing; UserError for a name that kind refuses."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UserError(
            f"{name!r} is no name for a kind cluster.",
            "Use small letters, digits, dots and dashes.",
        )
    path = cache_dir() / "kind" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def alone(cluster: str, doing: str, limit: float) -> Iterator[None]:
    """Be the only process that is `doing` something to a cluster; others wait for it, and say so.

    Raises UserError when that takes over `limit` seconds.
    """
    lock = FileLock(cluster_dir(cluster) / f"{doing.split()[0]}.lock")
    try:
        lock.acquire(timeout=1.0)
    except Timeout:
        log.info("Another process is %s the kind cluster %s; waiting for it.", doing, cluster)
        try:
            lock.acquire(timeout=limit, poll_interval=0.1)
        except Timeout:
            raise UserError(
                f"Another process has been {doing} the kind cluster {cluster} for {limit:.0f} s.",
                f"Find who holds {lock.lock_file} and end it.",
            ) from None
    try:
        yield
    finally:
        lock.release()
