"""Runs uv, which makes the environments, and other programs, away from the caller's own Airflow."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import uv

from common.environment import UMASK, inherited
from common.errors import UserError
from common.paths import cache_dir, path_of
from common.spawn import die_with_parent

UV_LIMIT = 1800.0
"""Seconds after which one uv command is given up: a stalled index must not hang a test run."""

PYTHON = "3.11"
"""The Python that pins are resolved for: every Airflow from 3.0 on supports it."""

_UV_HINT = re.compile(r"^\s*hint:", re.MULTILINE)
_UV_PART = re.compile(r"^\s*(error:|warning:|cause:|Caused by:|×|[├╰]─▶)", re.MULTILINE)
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_NO_INDEX")
# Where packages come from and how they are fetched is for the user to say. What is installed, and
# where, is not: UV_EXCLUDE_NEWER or UV_NO_BINARY would make another Airflow of it.
_USERS = re.compile(
    r"UV_(DEFAULT_INDEX|EXTRA_INDEX_URL|INDEX.*|NO_INDEX|FIND_LINKS|OFFLINE|HTTP_.*|REQUEST_TIMEOUT"
    r"|CONCURRENT_.*|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|KEYRING_PROVIDER|CREDENTIALS_DIR"
    r"|CACHE_DIR|NO_CACHE|CONFIG_FILE|NO_CONFIG|LOCK_TIMEOUT|PYTHON_.*|MANAGED_PYTHON"
    r"|NO_MANAGED_PYTHON|(S3|GCS|AZURE)_ENDPOINT_URL)"
)


def run(
    argv: Sequence[str | Path], *, directory: Path, environ: Mapping[str, str], limit: float
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end and return its output; it dies with us.

    Raises OSError if it cannot be started, subprocess.TimeoutExpired after `limit` seconds.
    """
    return subprocess.run(
        argv,
        cwd=directory,
        env=environ,
        umask=UMASK,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        check=False,
        preexec_fn=die_with_parent,
    )


class InstallError(UserError):
    """uv could not do what it was asked; the message ends with uv's own reason."""


def base_python() -> str:
    """Return which Python uv builds environments on: our own if it is a 3.11.

    It is the real path, so that every clone of the project asks for the same environments.
    """
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.executable).resolve()) if own == PYTHON else PYTHON


def run_uv(*arguments: str, directory: Path, limit: float = UV_LIMIT) -> str:
    """Run uv in `directory` and return its standard output.

    Raises `InstallError` with uv's last useful line when it fails or takes over `limit` seconds.
    """
    command = [os.fspath(uv.find_uv_bin()), "--color", "never", "--no-progress", *arguments]
    try:
        done = run(command, directory=directory, environ=_uv_environ(), limit=limit)
    except subprocess.TimeoutExpired:
        raise InstallError(
            f"uv gave no result in {limit:.0f} s.",
            "Check that the package index answers, then run the same command again.",
        ) from None
    if done.returncode != 0:
        raise InstallError(
            f"uv could not install it: {uv_reason(done.stderr)}",
            "Check the network and your UV_* or PIP_INDEX_URL settings; where a package's version "
            "is the matter, pin with --constraint NAME==VERSION.",
        )
    return done.stdout


def uv_reason(stderr: str) -> str:
    """Return why uv failed, as one line of at most 300 characters.

    uv prints an error, then its causes, from the outermost to the root, each perhaps wrapped
    over several lines, and hints below them. The error and its root cause say most.
    """
    text = _UV_HINT.split(stderr, maxsplit=1)[0]
    marks = list(_UV_PART.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    parts = [
        " ".join(text[mark.end() : end].split()).rstrip(":")
        for mark, end in zip(marks, ends, strict=True)
        if mark[1] != "warning:"
    ]
    if not parts:
        parts = [line.strip() for line in text.splitlines() if line.strip()][-1:]
    if len(parts) > 1:
        parts = parts[-1:] if parts[0].startswith("No solution found") else [parts[0], parts[-1]]
    reason = ": ".join(parts) or "it gave no reason"
    return reason if len(reason) <= 300 else reason[:297] + "..."


def _uv_environ() -> dict[str, str]:
    """Return the environment for uv: the user's, and pip's main index where uv has none set.

    uv's own cache is beside ours where the user has no folder for it.
    """
    given = inherited().items()
    environ = {name: value for name, value in given if name[:3] != "UV_" or _USERS.fullmatch(name)}
    if not any(environ.get(name) for name in _INDEX_VARIABLES):
        index = environ.get("PIP_INDEX_URL") or _pip_index()
        if index:
            environ["UV_DEFAULT_INDEX"] = index
    if "UV_CACHE_DIR" not in environ and not _users_cache():
        environ["UV_CACHE_DIR"] = str(cache_dir() / "uv")
    return environ


def _users_cache() -> bool:
    """Tell whether the user has a cache of his own that can be written, as uv takes for granted."""
    path = path_of(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    there = next(each for each in (path, *path.parents) if each.exists())
    return path.is_absolute() and os.access(there, os.W_OK)


@cache
def _pip_index() -> str:
    """Return the main index of pip's configuration files, empty if there is none."""
    if find_spec("pip") is None:
        return ""
    argv = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = run(argv, directory=Path.cwd(), environ=inherited(), limit=60)
    return done.stdout.strip() if done.returncode == 0 else ""
