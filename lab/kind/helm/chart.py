"""Which chart: a directory, a .tgz, or the official one by name and version; what is in it."""

import json
import tarfile
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from common.errors import UserError
from common.paths import cache_dir, path_of
from common.redaction import first_line
from lab.kind.tools import ProgramError, run

DEFAULT_CHART = "apache-airflow/airflow"
NEWEST = "1.22.0"
BY_LINE = {(3, 0): "1.18.0", (3, 1): "1.20.0", (3, 2): NEWEST}
"""The newest official release of the chart that by itself installs an Airflow of a line.

By `appVersion` in Chart.yaml: 1.17.0 and 1.18.0 install 3.0.2, 1.19.0 3.1.7, 1.20.0 3.1.8, 1.21.0
3.2.0, 1.22.0 3.2.2. Read from the "Default Airflow image" entries of RELEASE_NOTES.rst in 1.22.0
(2026-06-01), the newest release that was known in November 2026."""
REPOSITORY = "https://airflow.apache.org"
OFFICIAL = ("airflow", DEFAULT_CHART)
OLDEST = Version("1.16.0")
_LIMIT = 120.0
_LENGTH = 300
_UNREADABLE = (OSError, tarfile.TarError, EOFError, yaml.YAMLError, UnicodeDecodeError)


@dataclass(frozen=True)
class Chart:
    """A chart that is there, as its Chart.yaml names it."""

    path: Path
    name: str
    version: str


@dataclass(frozen=True)
class Contents:
    """What values a chart takes: its values.yaml, its values.schema.json, its subcharts' names.

    A chart without a schema has an empty one.
    """

    version: str
    defaults: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)
    subcharts: frozenset[str] = frozenset()

    @property
    def keys(self) -> frozenset[str]:
        """Return the top keys that have a meaning, `global` too, which is Helm's own."""
        known = (self.defaults, self.schema.get("properties", {}), self.subcharts, ("global",))
        return frozenset(key for each in known for key in each)


def default_version(airflow: str) -> str:
    """Return the version of the official chart that fits an Airflow: that of its line.

    The newest that is known for a line that came after it.
    """
    parsed = Version(airflow)
    return BY_LINE.get((parsed.major, parsed.minor), NEWEST)


def resolve(spec: str, version: str | None, helm: Path | str, airflow: str) -> Chart:
    """Return the chart that `--chart` and `--chart-version` mean, for an Airflow.

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
    wanted = _plain(version or default_version(airflow))
    cached = cache_dir() / "charts" / f"airflow-{wanted}.tgz"
    return inspect(cached if cached.exists() else _pull(wanted, cached, helm))


def named(spec: str, version: str | None, airflow: str) -> str:
    """Return `--chart` with the version that it means: a directory's or a .tgz's is its own."""
    path = path_of(spec)
    own = inspect(path).version if path.exists() else version or default_version(airflow)
    return f"{spec} {own}"


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


@cache
def contents(chart: Chart) -> Contents:
    """Return what values a chart takes; UserError where its files cannot be read."""
    about = _about(chart.path)
    parts = about.get("dependencies") or []
    names = (each.get("alias") or each.get("name") for each in parts if isinstance(each, dict))
    try:
        defaults = yaml.safe_load(_text(chart.path, "values.yaml")) or {}
        schema = json.loads(_text(chart.path, "values.schema.json", "{}"))
    except (*_UNREADABLE, ValueError) as error:
        raise UserError(
            f"The values of the chart {chart.path} cannot be read: {first_line(error)}."
        ) from error
    return Contents(chart.version, defaults, schema, frozenset(map(str, names)))


def _about(path: Path) -> dict[str, Any]:
    """Return a chart's Chart.yaml."""
    try:
        about = yaml.safe_load(_text(path, "Chart.yaml"))
    except _UNREADABLE:
        about = None
    if not isinstance(about, dict):
        raise UserError(
            f"{path} is not a Helm chart: it has no Chart.yaml that can be read.",
            "Give a chart's directory, or the .tgz that `helm pull` makes.",
        )
    return about


def _text(path: Path, name: str, default: str | None = None) -> str:
    """Return the text of a file at the top of a chart, or `default` where there is none.

    Without a default, raises OSError or TarError where there is none.
    """
    if path.is_dir():
        file = path / name
        return default if default is not None and not file.exists() else file.read_text()
    with tarfile.open(path) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(parts) == 2 and parts[1] == name:
                found = archive.extractfile(member)
                return found.read().decode() if found else ""
    if default is None:
        raise FileNotFoundError(path)
    return default


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
            f"{version!r} is not a version of a chart.", f"Write it as {NEWEST}."
        ) from None
    return version
