"""Runs other programs' Python and uv, away from the caller's own Airflow and packages."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.spawn import die_with_parent

_PYTHON_VARIABLES = frozenset(
    {
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPYCACHEPREFIX",
        "PYTHONOPTIMIZE",
        "PYTHONWARNINGS",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
    }
)


def clean_environ(pythonpath: tuple[Path, ...] = ()) -> dict[str, str]:
    """Return the caller's environment without what would leak into another Python's Airflow.

    Dropped: every `AIRFLOW_*` variable (the user's own deployment), and what points Python at
    other packages or keeps it from caching bytecode. `pythonpath` becomes the new PYTHONPATH.
    """
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in _PYTHON_VARIABLES and not name.lstrip("_").startswith("AIRFLOW_")
    }
    if pythonpath:
        environ["PYTHONPATH"] = os.pathsep.join(str(path) for path in pythonpath)
    return environ


def run(
    argv: Sequence[str | Path], *, directory: Path, environ: Mapping[str, str], limit: float
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end and return what it said; it dies with us.

    Raises OSError if it cannot be started, subprocess.TimeoutExpired after `limit` seconds.
    """
    return subprocess.run(
        argv,
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        check=False,
        preexec_fn=die_with_parent,
    )
