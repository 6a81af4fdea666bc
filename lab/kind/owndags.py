"""A user's own DAGs in pods: one archive, in a ConfigMap, unpacked wherever DAGs are parsed.

folder --> archive --> a container of the image, once: what Airflow makes of it (`ask`)
                  '--> ConfigMap --> an init container of each pod that parses (dags-own.yaml)

A ConfigMap's keys are no paths, and a mounted one is a tree of symlinks, which trips Airflow's walk
over the DAG folder; so the folder's tree is kept as an archive.
"""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import requests
from docker.errors import DockerException, ImageNotFound

from common.errors import UserError
from lab.environments.asking import Told, told
from lab.kind.helm.values import DAGS_FOLDER, OWN_DAGS
from lab.kind.tools import engine

ARCHIVE = "dags.tar.gz"
MOST_BYTES = 1_000_000
"""Of an archive: the API server takes ConfigMaps of up to 1 MiB, all that is in them together."""

_LEFT_OUT = frozenset({"__pycache__", "node_modules"})
"""Folders that hold no source, as do those whose name begins with a dot."""

_LABELS = {"airflow-ha-chaos": OWN_DAGS}


def archive(folder: Path) -> bytes:
    """Return a folder's files as an archive, which anybody may read once it is unpacked.

    What a link leads to is in it as itself. UserError where it is too large for a ConfigMap.
    """
    packed, sizes = io.BytesIO(), dict[str, int]()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for path in _files(folder):
            name = str(path.relative_to(folder))
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            made.addfile(entry, io.BytesIO(content))
            sizes[name] = len(content)
    if packed.tell() > MOST_BYTES:
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        listed = ", ".join(f"{name} ({sizes[name] / 1e6:.1f} MB)" for name in largest)
        raise UserError(
            f"--dags {folder}: it has {packed.tell() / 1e6:.1f} MB packed; a ConfigMap holds 1.",
            f"The largest of it: {listed}. Take out what is no DAG, or use --lab embedded.",
        )
    return packed.getvalue()


def ask(image: str, script: str, folder: Path, longest: float) -> Told:
    """Run a script in a container of an image, beside a user's DAGs; return what it said.

    The script is given the folder that has them there. The container has no network, and is gone
    afterwards. Raises subprocess.TimeoutExpired after `longest` seconds; UserError where the engine
    has no such image, or cannot run it.
    """
    packed = archive(folder)
    with closing(engine()) as client:
        try:
            container = client.containers.create(
                image,
                ["-B", "-c", script, DAGS_FOLDER],
                entrypoint=["python"],
                network_mode="none",
                environment={"AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
                labels=_LABELS,
            )
            try:
                container.put_archive(DAGS_FOLDER, packed)
                container.start()
                container.wait(timeout=longest)
                output, errors = (
                    container.logs(stdout=out, stderr=not out).decode(errors="replace")
                    for out in (True, False)
                )
            finally:
                container.remove(force=True)
        except ImageNotFound as error:
            raise UserError(
                f"--dags {folder}: it is imported in a container of {image} first, and the local "
                "Docker engine has no such image.",
                f"docker pull {image}",
            ) from error
        except (DockerException, requests.RequestException) as error:
            reason = " ".join(str(error).split())
            if "timed out" in reason:  # of a socket's stream it is no ReadTimeout
                raise subprocess.TimeoutExpired(script, longest) from error
            raise UserError(f"--dags {folder}: {image} cannot be run: {reason}.") from error
    return told(output, errors)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, in order; what links lead to as well, each folder once."""
    seen = set[str]()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(each for each in folders if not _is_left_out(each))
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and path.suffix != ".pyc":
                yield path


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith(".")
