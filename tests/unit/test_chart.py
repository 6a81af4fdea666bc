"""--chart takes a directory, a .tgz or the official name, and refuses what is no Airflow chart."""

import tarfile
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from common.paths import CACHE_VARIABLE
from lab.kind.helm.chart import NEWEST, contents, default_version, named, resolve

GOOD = {"name": "airflow", "version": "1.18.0", "appVersion": "3.0.2"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def directory(folder: Path, **changes: object) -> Path:
    """Make a chart's directory."""
    chart = folder / "airflow"
    chart.mkdir()
    (chart / "Chart.yaml").write_text(yaml.safe_dump(GOOD | changes))
    return chart


def archive(folder: Path, **changes: object) -> Path:
    """Make a chart's .tgz."""
    path = folder / "airflow.tgz"
    with tarfile.open(path, "w:gz") as made:
        made.add(directory(folder, **changes), "airflow")
    return path


def helm(folder: Path, script: str) -> Path:
    """Make a helm that does what a shell script says; its last argument is the destination."""
    path = folder / "helm"
    path.write_text(f'#!/bin/sh\nfor last; do :; done\necho x >> "{folder}/calls"\n{script}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("make", [directory, archive])
def test_a_chart_is_known_by_its_chart_yaml(tmp_path: Path, make: object) -> None:
    path = make(tmp_path)  # type: ignore[operator]

    found = resolve(str(path), None, "no-helm-needed", "3.0.6")

    assert (found.path, found.name, found.version) == (path.resolve(), "airflow", "1.18.0")


def test_a_record_has_the_version_of_the_chart_itself(tmp_path: Path) -> None:
    path = archive(tmp_path, version="1.22.0")

    assert named(str(path), None, "3.0.6") == f"{path} 1.22.0"
    assert named("airflow", "1.22.0", "3.0.6") == "airflow 1.22.0"
    assert named("airflow", None, "3.0.6") == "airflow 1.18.0"


@pytest.mark.parametrize(
    ("airflow", "chart"),
    [
        ("3.0.0", "1.18.0"),
        ("3.0.6", "1.18.0"),
        ("3.1.8", "1.20.0"),
        ("3.2.0rc1", "1.22.0"),
        ("3.2.2", "1.22.0"),
        ("3.3.2", NEWEST),
        ("3.4.0b2", NEWEST),
        ("4.0", NEWEST),
        ("3", "1.18.0"),
    ],
)
def test_the_chart_follows_the_line_of_airflow(airflow: str, chart: str) -> None:
    assert default_version(airflow) == chart
    assert named("airflow", None, airflow) == f"airflow {chart}"


@pytest.mark.parametrize("packed", [False, True])
def test_a_chart_tells_which_values_it_takes(tmp_path: Path, packed: bool) -> None:
    chart = directory(tmp_path, dependencies=[{"name": "postgresql"}, {"name": "a", "alias": "b"}])
    (chart / "values.yaml").write_text("executor: CeleryExecutor\n")
    (chart / "values.schema.json").write_text('{"properties": {"scheduler": {}}}')
    if packed:
        with tarfile.open(tmp_path / "airflow.tgz", "w:gz") as made:
            made.add(chart, "airflow")
        chart = tmp_path / "airflow.tgz"

    found = contents(resolve(str(chart), None, "helm", "3.0.6"))

    assert found.keys == {"executor", "scheduler", "postgresql", "b", "global"}


@pytest.mark.parametrize("name", ["values.yaml", "values.schema.json"])
def test_a_chart_whose_values_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    chart = directory(tmp_path)
    (chart / "values.yaml").write_text("a: 1\n")
    (chart / name).write_text("{")

    with pytest.raises(UserError, match=r"values of the chart .* cannot be read"):
        contents(resolve(str(chart), None, "helm", "3.0.6"))


def test_a_version_given_with_a_directory_must_be_its_own(tmp_path: Path) -> None:
    chart = directory(tmp_path)

    assert resolve(str(chart), "1.18.0", "helm", "3.0.6").version == "1.18.0"
    with pytest.raises(UserError, match=r"is chart version 1\.18\.0, not 1\.22\.0"):
        resolve(str(chart), "1.22.0", "helm", "3.0.6")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "postgresql"}, "is the chart 'postgresql', not Apache Airflow's"),
        ({"version": "1.15.0"}, r"chart 1\.15\.0, which cannot run Airflow 3"),
        ({"version": "new"}, "'new' is not a version of a chart"),
    ],
)
def test_what_is_not_a_chart_for_airflow_3_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        resolve(str(archive(tmp_path, **changes)), None, "helm", "3.0.6")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08broken"])
def test_a_file_that_is_no_archive_is_no_chart(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "airflow.tgz"
    path.write_bytes(content)

    with pytest.raises(UserError, match=r"airflow\.tgz is not a Helm chart"):
        resolve(str(path), None, "helm", "3.0.6")


def test_a_directory_or_archive_without_chart_yaml_is_no_chart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "empty.tgz", "w:gz") as made:
        made.add(tmp_path / "empty", "airflow")

    for name in ("empty", "empty.tgz"):
        with pytest.raises(UserError, match="is not a Helm chart"):
            resolve(str(tmp_path / name), None, "helm", "3.0.6")


def test_a_name_that_is_not_the_official_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such directory or .tgz.*apache-airflow/airflow"):
        resolve(str(tmp_path / "airflow-1.18.0.tgz"), None, "helm", "3.0.6")


def test_the_official_chart_is_pulled_once(tmp_path: Path, cache: Path) -> None:
    made = archive(tmp_path)
    pulling = helm(tmp_path, f'cp "{made}" "$last/airflow-1.18.0.tgz"')

    first = resolve("apache-airflow/airflow", None, pulling, "3.0.6")
    second = resolve("airflow", "1.18.0", pulling, "3.0.6")

    assert first == second
    assert first.path == (cache / "charts" / "airflow-1.18.0.tgz").resolve()
    assert (tmp_path / "calls").read_text() == "x\n"


def test_a_pull_that_fails_says_what_else_can_be_done_and_leaves_nothing(
    tmp_path: Path, cache: Path
) -> None:
    failing = helm(tmp_path, "echo 'Error: no such host' >&2; exit 1")

    with pytest.raises(UserError, match=r"could not be pulled.*no such host.*--chart FILE"):
        resolve("airflow", None, failing, "3.0.6")
    assert list((cache / "charts").iterdir()) == []


def test_a_download_that_is_no_chart_is_not_kept(tmp_path: Path, cache: Path) -> None:
    pulled = helm(tmp_path, 'echo login > "$last/airflow-1.18.0.tgz"')

    with pytest.raises(UserError, match="is not a Helm chart"):
        resolve("airflow", None, pulled, "3.0.6")
    assert list((cache / "charts").iterdir()) == []


def test_a_machine_without_helm_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"helm cannot be run.*make tools"):
        resolve("airflow", None, tmp_path / "nowhere" / "helm", "3.0.6")


def test_a_version_cannot_name_a_file_elsewhere() -> None:
    with pytest.raises(UserError, match="is not a version of a chart"):
        resolve("airflow", "../../etc", "helm", "3.0.6")
