"""Where the lab keeps what outlives a run (environments, templates) and what does not (labs).

PostgreSQL refuses to run as root, so root's labs run it as `nobody`, who cannot look into
root's home: for root the cache is therefore a directory under /var/cache that everyone can pass.
"""

import os
from pathlib import Path

from common.errors import UserError

CACHE_VARIABLE = "HA_CHAOS_CACHE"
RUNS_VARIABLE = "HA_CHAOS_RUNS"

PROJECT = Path(__file__).resolve().parents[1]
"""This checkout: our own modules are importable there, and its folders stand beside them."""

FOLDERS = f"""\
{CACHE_VARIABLE}: folder of environments and labs (~/.cache/airflow-ha-chaos)
{RUNS_VARIABLE}: folder of runs (reports/runs in this checkout)"""
"""For --help: the variables that name our folders, and where these are otherwise."""

_HINT = (
    f"Set {CACHE_VARIABLE} (environments and labs) and {RUNS_VARIABLE} (runs) to folders that you "
    "can write."
)


def path_of(text: str) -> Path:
    """Return the path that a user means; `~` stays where nobody knows whose home that is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises then


def cache_dir() -> Path:
    """Return the cache directory, made if missing; `HA_CHAOS_CACHE` overrides the default.

    Raises UserError where it cannot be written, or nobody knows where it would be.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if not chosen and os.geteuid() == 0:
        chosen = "/var/cache/airflow-ha-chaos"
    path = path_of(chosen or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if not chosen:
        path /= "airflow-ha-chaos"
        if not path.is_absolute():
            raise UserError("There is no home directory to keep environments and labs in.", _HINT)
    path = path.resolve()
    if os.pathsep in str(path):
        raise UserError(
            f"Environments cannot be kept in {path}: no search path can have a folder with a "
            f"{os.pathsep!r} in it.",
            f"Set {CACHE_VARIABLE} to another.",
        )
    writable(path, "Environments and labs")
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        raise UserError(
            f"No program can be run from {path}: its file system is mounted noexec.",
            f"Set {CACHE_VARIABLE} to a folder on another.",
        )
    return path


def cache_folder(name: str) -> Path:
    """Return a folder of the cache, made if missing; UserError where it is somebody else's."""
    return writable(cache_dir() / name, "Environments and labs")


def runs_dir() -> Path:
    """Return the folder of runs, which may not be there yet; `HA_CHAOS_RUNS` overrides it."""
    chosen = os.environ.get(RUNS_VARIABLE)
    return path_of(chosen).absolute() if chosen else PROJECT / "reports" / "runs"


def writable(path: Path, what: str) -> Path:
    """Return a folder that can be written, made if missing; UserError for `what` cannot be kept."""
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise UserError(
            f"{what} cannot be kept in {path}: this Python does not read its name as UTF-8.",
            "Set LC_ALL=C.UTF-8, and unset PYTHONUTF8.",
        )
    try:
        make_folder(path)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(0, "it cannot be written")
    except OSError as error:
        raise UserError(f"{what} cannot be kept in {path}: {error.strerror}.", _HINT) from None
    return path


def make_folder(path: Path) -> None:
    """Make a folder, with those above it, that nobody else writes into.

    Whatever the umask: and root's everyone can pass, as the user must whom PostgreSQL runs as.
    """
    missing = [each for each in (path, *path.parents) if not each.is_dir()]
    for each in reversed(missing):
        each.mkdir(mode=0o755, exist_ok=True)
        if os.geteuid() == 0:
            each.chmod(0o755)


def session_dir(pid: int, born: float) -> Path:
    """Return the folder of the test session of a process: its slots and their locks."""
    return cache_folder("sessions") / f"{pid}-{int(born)}"


def labs_dir() -> Path:
    """Return the directory under which every running lab has a folder of its own."""
    return cache_folder("labs")
