"""Where the lab keeps what outlives a run (environments, templates) and what does not (labs).

PostgreSQL refuses to run as root, so root's labs run it as `nobody`, who cannot look into
root's home: for root the cache is therefore a directory under /var/cache that everyone can pass.
"""

import os
from pathlib import Path

CACHE_VARIABLE = "HA_CHAOS_CACHE"

PROJECT = Path(__file__).resolve().parents[1]
"""This checkout: our own modules are importable there, and its folders stand beside them."""


def cache_dir() -> Path:
    """Return the cache directory, made if missing; `HA_CHAOS_CACHE` overrides the default."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        path = Path(chosen).expanduser().resolve()
    elif os.geteuid() == 0:
        path = Path("/var/cache/airflow-ha-chaos")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        path = Path(base) / "airflow-ha-chaos"
    path.mkdir(parents=True, exist_ok=True)
    return path


def session_dir(pid: int, born: float) -> Path:
    """Return the folder of the test session of a process: its slots and their locks."""
    return cache_dir() / "sessions" / f"{pid}-{int(born)}"


def labs_dir() -> Path:
    """Return the directory under which every running lab has a folder of its own."""
    path = cache_dir() / "labs"
    path.mkdir(exist_ok=True)
    return path
