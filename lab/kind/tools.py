"""The programs of the user's that a kind lab needs: a Docker engine, kind and Helm.

kind drives the engine through Docker's command line; everything else here goes through the
`docker` package, to the same engine.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from common.errors import UserError
from common.paths import cache_dir

_GET = {
    "docker": "Install Docker Engine or Docker Desktop: docs.docker.com/engine/install.",
    "kind": "`make tools` fetches kind and helm into the cache, or put your own on PATH.",
    "helm": "`make tools` fetches kind and helm into the cache, or put your own on PATH.",
}


@dataclass(frozen=True)
class Tools:
    """Where each program is."""

    docker: Path
    kind: Path
    helm: Path


def tools_dir() -> Path:
    """Return the folder of the programs that `make tools` has fetched."""
    return cache_dir() / "tools"


def find(name: str) -> Path:
    """Return the program `docker`, `kind` or `helm`: the fetched one, else the one on PATH.

    Raises UserError that says how to get it.
    """
    path = os.pathsep.join((str(tools_dir()), os.environ.get("PATH", os.defpath)))
    if found := shutil.which(name, path=path):
        return Path(found).absolute()
    raise UserError(f"{name} is missing.", _GET[name])


def require() -> Tools:
    """Return all that a kind lab needs, its engine awake; UserError names what is missing."""
    missing: list[UserError] = []
    found: dict[str, Path] = {}
    for name in _GET:
        try:
            found[name] = find(name)
        except UserError as error:
            missing.append(error)
    if missing:
        names = [error.message.split()[0] for error in missing]
        verb = "is" if len(names) == 1 else "are"
        hints = list(dict.fromkeys(error.hint for error in missing))
        raise UserError(
            f"A kind lab needs {' and '.join(names)}, which {verb} missing.", " ".join(hints)
        )
    engine().close()
    return Tools(**found)


def engine() -> docker.DockerClient:
    """Return a client of the engine that Docker's command line talks to; UserError without one.

    That is DOCKER_HOST, else the command line's current context (Docker Desktop, colima, rootless),
    which the `docker` package by itself does not look at.
    """
    host = os.environ.get("DOCKER_HOST")
    context = None if host else _context()
    where = host or context
    try:
        client = docker.DockerClient(context) if context else docker.from_env()
        client.ping()
    except (DockerException, OSError) as error:
        raise UserError(
            f"The Docker engine at {where or 'its usual socket'} does not answer: {_cause(error)}.",
            "Start it, or set DOCKER_HOST; `docker info` must work.",
        ) from error
    return client


def docker_argv(*arguments: str) -> list[str]:
    """Return a command of Docker's command line that means the same engine wherever it is run."""
    host = os.environ.get("DOCKER_HOST")
    return [str(find("docker")), *(("--host", host) if host else ()), *arguments]


def _context() -> str | None:
    """Return the address of the current context, None for the default one."""
    if os.environ.get("DOCKER_CONTEXT") == "default":
        return None
    try:
        context = ContextAPI.get_current_context()
        return None if context is None or context.name == "default" else str(context.Host)
    except (DockerException, OSError, ValueError, KeyError):
        return None


def _cause(error: BaseException) -> str:
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
