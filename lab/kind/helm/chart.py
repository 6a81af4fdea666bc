"""Which chart: a directory, a .tgz, or the official one by name and version."""

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from common.errors import UserError
from common.paths import cache_dir, path_of
from lab.kind.tools import ProgramError, run

DEFAULT_CHART = "apache-airflow/airflow"
DEFAULT_VERSION = "1.18.0"
REPOSITORY = "https://airflow.apache.org"
OFFICIAL = ("airflow", DEFAULT_CHART)
OLDEST = Version("1.16.0")
_LIMIT = 120.0
_LENGTH = 300


@dataclass(frozen=True)
class Chart:
    """A chart that is there, as its Chart.yaml names it."""

    path: Path
    name: str
    version: str


def resolve(spec: str, version: str | None, helm: Path | str) -> Chart:
    """Return the chart that `--chart` and `--chart-version` mean.

    A directory and a .tgz are taken as they are, and a version given with them must be theirs. The
    official chart's name is pulled once per version, over HTTPS, and kept in the cache; helm does
    not check its digest, so what vouches for it is the server's certificate. UserError for what is
    no chart, not Airflow's, older than 1.16.0 (the first that starts Airflow 3's API server), or
    cannot be pulled.
    """
    path = path_of(spec)
    if path.exists():
        chart = inspect(path)
        if version and chart.version != version:
            raise UserError(f"{spec} is chart version {chart.version}, not {version}.")
        return chart
    if spec not in OFFICIAL:
        raise UserError(
            f"--chart {spec}: there is no such directory or .tgz.",
            f"The official chart is called {DEFAULT_CHART}.",
        )
    wanted = _plain(version or DEFAULT_VERSION)
    cached = cache_dir() / "charts" / f"airflow-{wanted}.tgz"
    return inspect(cached if cached.exists() else _pull(wanted, cached, helm))


def named(spec: str, version: str | None) -> str:
    """Return `--chart` with the version that it means: a directory's or a .tgz's is its own."""
    path = path_of(spec)
    return f"{spec} {inspect(path).version if path.exists() else version or DEFAULT_VERSION}"


def inspect(path: Path) -> Chart:
    """Return the chart in a directory or .tgz; UserError when it is not one that will do."""
    about = _about(path)
    chart = Chart(path.resolve(), str(about.get("name", "")), str(about.get("version", "")))
    if chart.name != "airflow":
        raise UserError(
            f"{path} is the chart {chart.name!r}, not Apache Airflow's 'airflow'.",
            f"The official one is called {DEFAULT_CHART}.",
        )
    if Version(_plain(chart.version)) < OLDEST:
        raise UserError(
            f"{path} is chart {chart.version}, which cannot run Airflow 3.",
            f"Take {OLDEST} or newer.",
        )
    return chart


def _about(path: Path) -> dict[str, Any]:
    """Return a chart's Chart.yaml."""
    try:
        text = _chart_yaml(path)
        about = yaml.safe_load(text)
    except (OSError, tarfile.TarError, EOFError, yaml.YAMLError, UnicodeDecodeError):
        about = None
    if not isinstance(about, dict):
        raise UserError(
            f"{path} is not a Helm chart: it has no Chart.yaml that can be read.",
            "Give a chart's directory, or the .tgz that `helm pull` makes.",
        )
    return about


def _chart_yaml(path: Path) -> str:
    """Return the text of Chart.yaml; raises OSError or TarError where there is none."""
    if path.is_dir():
        return (path / "Chart.yaml").read_text()
    with tarfile.open(path) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(parts) == 2 and parts[1] == "Chart.yaml":
                found = archive.extractfile(member)
                return found.read().decode() if found else ""
    raise FileNotFoundError(path)


def _pull(version: str, target: Path, helm: Path | str) -> Path:
    """Have helm download the official chart, and keep it only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [helm, "pull", "airflow", "--repo", REPOSITORY]
        try:
            run([*command, "--version", version, "--destination", folder], limit=_LIMIT)
            pulled = next(Path(folder).glob("*.tgz"))
        except (ProgramError, StopIteration) as error:
            raise UserError(
                f"Airflow's chart {version} could not be pulled from {REPOSITORY}: "
                f"{complaint(error)}.",
                f"Download airflow-{version}.tgz where that is reachable, and give --chart FILE.",
            ) from error
        inspect(pulled)
        pulled.replace(target)
    return target


def complaint(error: Exception) -> str:
    """Return helm's error in one line, without its warnings and its advice to developers."""
    output = error.output.rpartition("Error: ")[2] if isinstance(error, ProgramError) else ""
    lines = [line.strip() for line in output.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Use --debug", "WARNING"))]
    line = " ".join(kept) or "helm gave no reason"
    return line if len(line) <= _LENGTH else f"{line[:_LENGTH]}..."


def _plain(version: str) -> str:
    """Return a chart's version as given; UserError when it is none, for it becomes a file name."""
    try:
        Version(version)
    except InvalidVersion:
        raise UserError(
            f"{version!r} is not a version of a chart.", f"Write it as {DEFAULT_VERSION}."
        ) from None
    return version
