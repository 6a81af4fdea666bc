"""The programs that a kind lab needs: a Docker engine, kind and Helm; `python -m lab tools`.

kind and Helm of one release each are fetched into the cache, and checked first. Where the checksums
are from: Helm's from the notes of its release v3.19.0; kind's, which its makers publish beside each
binary (`.sha256sum`), as several projects pin them that agree on all four, one of them f110/mono. A
file that is something else is refused.

kind drives the engine through Docker's command line; everything else here goes through the
`docker` package, to the same engine.
"""

import argparse
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker
import requests
from docker.context import ContextAPI
from docker.errors import DockerException

from common.errors import UserError
from common.files import alone, whole
from common.paths import cache_dir
from common.waiting import Every

log = logging.getLogger(__name__)

_FETCH = "`make tools` fetches kind and helm into the cache, or put your own on PATH."
_GET = {
    "docker": "Install Docker Engine or Docker Desktop: docs.docker.com/engine/install.",
    "kind": _FETCH,
    "helm": _FETCH,
}

_TIMEOUT = (10.0, 60.0)
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


_ABOUT = """\
Fetch kind and helm, of a pinned release each, into the cache, where `--lab kind` looks before PATH.
What is fetched must have the checksum that is written in lab/kind/tools.py. Docker you install
yourself; whether its engine answers is said.
"""


def tools_dir() -> Path:
    """Return the folder of the programs that `make tools` has fetched."""
    return cache_dir() / "tools"


def find(name: str) -> Path:
    """Return the program `docker`, `kind` or `helm`: the fetched one, else the one on PATH.

    Raises UserError that says how to get it.
    """
    if found := _which(name):
        return Path(found).absolute()
    raise UserError(f"{name} is missing.", _GET[name])


def _which(name: str) -> str | None:
    path = os.pathsep.join((str(tools_dir()), os.environ.get("PATH", os.defpath)))
    return shutil.which(name, path=path)


def require() -> None:
    """See that all is there that a kind lab needs; UserError names whatever is missing, at once."""
    missing = [name for name in _GET if _which(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        hints = dict.fromkeys(_GET[name] for name in missing)
        names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise UserError(f"A kind lab needs {names}, which {verb} missing.", " ".join(hints))
    engine().close()


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


class ProgramError(UserError):
    """A program failed; `output` is what it wrote to its standard error."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    limit: float,
    text: str = "",
    progress: Callable[[str], None] | None = None,
) -> str:
    """Run a program to its end, `text` as its input, and return its standard output.

    `progress` is called with each line of its standard error, as it comes. Raises UserError where
    there is no such program, ProgramError with what it gave as the reason when it fails, or when it
    takes over `limit` seconds.
    """
    name = Path(argv[0]).name
    lines: list[str] = []
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(text.encode())
        source.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            why = error.strerror or error
            raise UserError(
                f"{name} cannot be run: {argv[0]}: {why}.", _GET.get(name, "")
            ) from error
        overtime = threading.Timer(limit, process.kill)
        overtime.start()
        with process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    lines.append(line.rstrip())
                    if progress:
                        progress(lines[-1])
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                late = not overtime.is_alive()
                overtime.cancel()
        output.seek(0)
        written = output.read().decode(errors="replace")
    if process.returncode:
        what = f"{name} {' '.join(map(str, argv[1:3]))}"
        how = f"took over {limit:.0f} s; its last line" if late else "failed"
        why = reason(lines or written.splitlines())
        raise ProgramError(f"{what} {how}: {why}", "\n".join(lines))
    return written


def reason(lines: Sequence[str]) -> str:
    """Return the line that says why a Go program failed: `ERROR: ..` or `Error: ..`, else the last.

    kind adds the output of the command that failed below its error: its last line is the cause.
    """
    written = [line.strip() for line in lines if line.strip()]
    if not written:
        return "it gave no reason"
    errors = [line for line in written if line.lower().startswith("error")]
    first = errors[0] if errors else written[-1]
    last = "" if first == written[-1] else f" ({_short(written[-1])})"
    return _short(first) + last


def _short(line: str) -> str:
    return line if len(line) <= 250 else line[:247] + "..."


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
    with alone(folder / f".{artifact.program}.lock", f"fetching {artifact.program}"):
        if path.exists() and mark.exists() and mark.read_text() == artifact.sha256:
            log.info("%s %s is there: %s", artifact.program, artifact.version, path)
            return path
        with whole(path, 0o755) as program, tempfile.TemporaryFile(dir=folder) as download:
            _download(artifact, download)
            _check(artifact, download)
            _unpack(artifact, download, program)
            mark.unlink(missing_ok=True)
        mark.write_text(artifact.sha256)
    log.info("Fetched %s %s: %s", artifact.program, artifact.version, path)
    return path


def _download(artifact: Artifact, file: IO[bytes]) -> None:
    log.info("Fetching %s %s from %s", artifact.program, artifact.version, artifact.url)
    progress = Every(5.0)
    try:
        with requests.get(artifact.url, stream=True, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            size = int(answer.headers.get("Content-Length", 0))
            of_all = f" of {size / 1e6:.0f}" if size else ""
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                if progress.due():
                    log.info("%s: %.0f%s MB", artifact.program, file.tell() / 1e6, of_all)
    except (requests.RequestException, OSError) as error:
        raise UserError(
            f"{artifact.program} {artifact.version} could not be fetched from {artifact.url}: "
            f"{_why_not_fetched(error)}.",
            f"Check the network and HTTPS_PROXY, or put a {artifact.program} of your own on PATH.",
        ) from error


def _why_not_fetched(error: Exception) -> str:
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


def _check(artifact: Artifact, download: IO[bytes]) -> None:
    download.seek(0)
    found = hashlib.file_digest(download, "sha256").hexdigest()  # type: ignore[arg-type]
    if found != artifact.sha256:
        raise UserError(
            f"What came from {artifact.url} is not {artifact.program} {artifact.version}: its "
            f"sha256 is {found}, not {artifact.sha256}.",
            "It was deleted. A proxy may have answered in its place; do not use it.",
        )


def _unpack(artifact: Artifact, download: IO[bytes], program: Path) -> None:
    download.seek(0)
    with program.open("wb") as file:
        if not artifact.member:
            shutil.copyfileobj(download, file)
            return
        with tarfile.open(fileobj=download, mode="r:gz") as archive:
            member = archive.extractfile(artifact.member)
            assert member is not None
            shutil.copyfileobj(member, file)


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command `tools` to those of `python -m lab`."""
    commands.add_parser(
        "tools",
        help="fetch kind and helm, which --lab kind needs",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).set_defaults(work=print_tools)


def print_tools(options: argparse.Namespace) -> int:  # noqa: ARG001
    """Fetch what is missing and say where it is; UserError when it cannot be had."""
    for artifact in artifacts():
        print(f"{artifact.program:<7} {artifact.version:<9} {fetch(artifact)}")
    try:
        client = engine()
    except UserError as error:
        print(f"docker  missing   {error}")
        return 0
    print(f"docker  {client.version()['Version']:<9} answers at {client.api.base_url}")
    client.close()
    return 0
