"""Fetches kind and Helm, of one release each, into the cache; what was fetched is checked first.

Where the checksums are from: Helm's from the notes of its release v3.19.0; kind's, which its makers
publish beside each binary (`.sha256sum`), as several projects pin them that agree on all four, one
of them f110/mono. A file that is something else is refused.
"""

import hashlib
import logging
import platform
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock

from common.errors import UserError
from lab.kind.tools import tools_dir

log = logging.getLogger(__name__)

_TIMEOUT = (10.0, 60.0)
_TELL_EVERY = 5.0
_CHUNK = 256 * 1024

KIND = "v0.30.0"
HELM = "v3.19.0"
SHA256 = {
    "kind-linux-amd64": "517ab7fc89ddeed5fa65abf71530d90648d9638ef0c4cde22c2c11f8097b8889",
    "kind-linux-arm64": "7ea2de9d2d190022ed4a8a4e3ac0636c8a455e460b9a13ccf19f15d07f4f00eb",
    "kind-darwin-amd64": "4f0b6e3b88bdc66d922c08469f05ef507d4903dd236e6319199bb9c868eed274",
    "kind-darwin-arm64": "ceaf40df1d1551c481fb50e3deb5c3deecad5fd599df5469626b70ddf52a1518",
    "helm-linux-amd64": "a7f81ce08007091b86d8bd696eb4d86b8d0f2e1b9f6c714be62f82f96a594496",
    "helm-linux-arm64": "440cf7add0aee27ebc93fada965523c1dc2e0ab340d4348da2215737fc0d76ad",
    "helm-darwin-amd64": "09a108c0abda42e45af172be65c49125354bf7cd178dbe10435e94540e49c7b9",
    "helm-darwin-arm64": "31513e1193da4eb4ae042eb5f98ef9aca7890cfa136f4707c8d4f70e2115bef6",
}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Artifact:
    """One file to fetch: the program itself, or a .tar.gz with the program as `member`."""

    program: str
    version: str
    url: str
    sha256: str
    member: str = ""


def artifacts(system: str = sys.platform, machine: str | None = None) -> list[Artifact]:
    """Return what this machine needs; UserError for one that is neither Linux nor macOS."""
    arch = _MACHINES.get((machine or platform.machine()).lower())
    if system not in ("linux", "darwin") or arch is None:
        raise UserError(
            f"No kind and helm are pinned for {system} on {machine or platform.machine()}.",
            "Install both yourself, and put them on PATH.",
        )
    where = f"{system}-{arch}"
    kind = f"https://github.com/kubernetes-sigs/kind/releases/download/{KIND}/kind-{where}"
    helm = f"https://get.helm.sh/helm-{HELM}-{where}.tar.gz"
    return [
        Artifact("kind", KIND, kind, SHA256[f"kind-{where}"]),
        Artifact("helm", HELM, helm, SHA256[f"helm-{where}"], f"{where}/helm"),
    ]


def fetch(artifact: Artifact, folder: Path | None = None) -> Path:
    """Return the program, fetched unless this release of it is there; several may call at once.

    Raises UserError when it cannot be downloaded or is not what was pinned; nothing is left then.
    """
    folder = folder or tools_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / artifact.program
    mark = folder / f".{artifact.program}.sha256"
    with FileLock(folder / f".{artifact.program}.lock"):
        if path.exists() and mark.exists() and mark.read_text() == artifact.sha256:
            log.info("%s %s is there: %s", artifact.program, artifact.version, path)
            return path
        with _beside(folder) as download, _beside(folder) as program:
            _download(artifact, download)
            _check(artifact, download)
            _unpack(artifact, download, program)
            program.chmod(0o755)
            mark.unlink(missing_ok=True)
            program.replace(path)
            mark.write_text(artifact.sha256)
    log.info("Fetched %s %s: %s", artifact.program, artifact.version, path)
    return path


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Lend a name in the folder; whatever bears it in the end is removed."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
        path = Path(file.name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _download(artifact: Artifact, path: Path) -> None:
    log.info("Fetching %s %s from %s", artifact.program, artifact.version, artifact.url)
    told = time.monotonic()
    got = 0
    try:
        with (
            requests.get(artifact.url, stream=True, timeout=_TIMEOUT) as answer,
            path.open("wb") as file,
        ):
            answer.raise_for_status()
            size = int(answer.headers.get("Content-Length", 0))
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                got += len(chunk)
                if time.monotonic() - told > _TELL_EVERY:
                    told = time.monotonic()
                    whole = f" of {size / 1e6:.0f}" if size else ""
                    log.info("%s: %.0f%s MB", artifact.program, got / 1e6, whole)
    except (requests.RequestException, OSError) as error:
        raise UserError(
            f"{artifact.program} {artifact.version} could not be fetched from {artifact.url}: "
            f"{_reason(error)}.",
            f"Check the network and HTTPS_PROXY, or put a {artifact.program} of your own on PATH.",
        ) from error


def _reason(error: Exception) -> str:
    match error:
        case requests.HTTPError():
            return f"the server answered {error.response.status_code}"
        case requests.exceptions.ProxyError():
            return "the proxy refused it"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted here"
        case requests.Timeout():
            return "it did not answer in time"
        case requests.ConnectionError():
            return "it cannot be reached from here"
        case _:
            return str(error).rstrip(".") or type(error).__name__


def _check(artifact: Artifact, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact.sha256:
        raise UserError(
            f"What came from {artifact.url} is not {artifact.program} {artifact.version}: its "
            f"sha256 is {found}, not {artifact.sha256}.",
            "It was deleted. A proxy may have answered in its place; do not use it.",
        )


def _unpack(artifact: Artifact, download: Path, program: Path) -> None:
    if not artifact.member:
        download.replace(program)
        return
    with tarfile.open(download, "r:gz") as archive, program.open("wb") as file:
        member = archive.extractfile(artifact.member)
        assert member is not None
        while chunk := member.read(_CHUNK):
            file.write(chunk)
