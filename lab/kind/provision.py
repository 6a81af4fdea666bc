"""All that a deployed lab needs before its release can be installed."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.kind import images, tools
from lab.kind.cluster import Cluster
from lab.kind.helm import chart
from lab.spec import Deployment


@dataclass(frozen=True)
class Provision:
    """A kind cluster to be found or made, and the chart to be installed on it."""

    cluster: str
    nodes: int | None
    node_image: str | None
    config: str | None
    chart: str
    chart_version: str | None


@cache
def deployment(
    provision: Provision,
    airflow_image: str,
    postgres_image: str,
    layers: tuple[str, ...],
    values: tuple[str, ...],
) -> Deployment:
    """Return where and how to deploy: makes the cluster, loads the images, gets the chart.

    Raises UserError with what is missing and how to get it.
    """
    found = tools.require()
    resolved = chart.resolve(provision.chart, provision.chart_version, found.helm)
    cluster = Cluster(provision.cluster)
    config = Path(provision.config) if provision.config else None
    cluster.ensure(provision.node_image, provision.nodes, config)
    for image in (airflow_image, postgres_image):
        images.load(cluster, image)
    return Deployment(
        cluster=provision.cluster,
        kubeconfig=str(cluster.kubeconfig),
        chart=str(resolved.path),
        postgres_image=postgres_image,
        layers=layers,
        values=values,
    )


@cache
def build_of(cluster: str, image: str) -> str:
    """Return the build that a loaded image is: one tag may be given to several."""
    return images.build_of(Cluster(cluster), image)
