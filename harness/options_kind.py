"""The options of `--lab kind`: where the cluster, the chart and the images come from."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import path_of
from common.pipe import count
from lab.kind.helm.chart import named
from lab.kind.helm.values import OWN_DAGS
from lab.kind.provision import Provision

AIRFLOW_IMAGE = "apache/airflow:{version}"
POSTGRES_IMAGE = "postgres:16"


def add_kind_options(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("airflow-ha-chaos-kind", "airflow-ha-chaos, with --lab kind")
    for name, default, metavar, text in (
        ("--kind-name", "ha-chaos", "NAME", "the cluster to use, made if missing"),
        ("--kind-image", None, "IMAGE", "node image of a new cluster (default: kind's own)"),
        ("--kind-config", None, "FILE", "kind's configuration of a new cluster"),
        (
            "--chart",
            "airflow",
            "CHART",
            "a chart: its name in the official repository, a folder or a .tgz file",
        ),
        (
            "--chart-version",
            None,
            "V",
            "version of a chart that is given by name (default: the newest one for the line of "
            "--airflow)",
        ),
        (
            "--airflow-image",
            AIRFLOW_IMAGE,
            "IMAGE",
            "image of Airflow; {version} is replaced by the version in --airflow",
        ),
        ("--postgres-image", POSTGRES_IMAGE, "IMAGE", "of the metadata database"),
    ):
        shown = f"{text} (default: {default})" if default else text
        group.addoption(name, default=default, metavar=metavar, help=shown)
    group.addoption(
        "--kind-nodes",
        type=count,
        metavar="N",
        help="number of nodes of a new cluster, control plane included",
    )
    group.addoption(
        "--kind-delete", action="store_true", help="delete the cluster when the session ends"
    )
    for name, metavar, text in (
        (
            "--layer",
            "NAME",
            "values to add from charts-values/NAME.yaml, repeatable (pgbouncer, ...)",
        ),
        ("--values", "FILE", "your own Helm values, applied last; repeatable"),
    ):
        group.addoption(name, action="append", default=[], metavar=metavar, help=text)


def chart_line(kind: Provision, versions: Iterable[str]) -> str:
    """Say which chart each version of Airflow gets; pytest.UsageError where --chart is none."""
    try:
        charts = [f"{named(kind.chart, kind.chart_version, each)} for {each}" for each in versions]
    except UserError as error:
        raise pytest.UsageError(str(error)) from error
    chosen = kind.chart_version is None and not path_of(kind.chart).exists()
    return f"chart: {', '.join(charts)}{' (--chart-version takes another)' if chosen else ''}"


def read_kind_options(config: pytest.Config) -> Provision:
    """Check the options; pytest.UsageError with one clear line for what is wrong."""
    files = [config.getoption("kind_config"), *config.getoption("values")]
    for name in filter(None, files):
        if not Path(name).is_file():
            raise pytest.UsageError(f"{name} is not a file.")
    if OWN_DAGS in config.getoption("layer") and not config.getoption("dags"):
        raise pytest.UsageError(f"--layer {OWN_DAGS} goes with DAGs of yours: give --dags DIR.")
    return Provision(
        cluster=config.getoption("kind_name"),
        node_image=config.getoption("kind_image"),
        nodes=config.getoption("kind_nodes"),
        config=config.getoption("kind_config"),
        chart=config.getoption("chart"),
        chart_version=config.getoption("chart_version"),
        airflow_image=config.getoption("airflow_image"),
        postgres_image=config.getoption("postgres_image"),
        layers=tuple(config.getoption("layer")),
        values=tuple(str(Path(each).resolve()) for each in config.getoption("values")),
    )
