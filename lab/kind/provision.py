"""All that a kind lab needs before its release can be installed: cluster, images, chart."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.base import image_build
from lab.kind import images, tools
from lab.kind.cluster import Cluster
from lab.kind.helm import chart
from lab.kind.node import Node
from lab.spec import Deployment


@dataclass(frozen=True)
class Provision:
    """A kind cluster to be found or made, and what is to be installed on it.

    `nodes`, `node_image` and `config` (a file) are of a cluster that is made; `airflow_image` may
    say {version}; `layers` are names of charts-values/, `values` are files that have the last word.
    """

    cluster: str
    chart: str
    airflow_image: str
    postgres_image: str
    nodes: int | None = None
    node_image: str | None = None
    config: str | None = None
    chart_version: str | None = None
    layers: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


@cache
def deployment(wanted: Provision, airflow_image: str) -> Deployment:
    """Return where and how to deploy: makes the cluster, loads the images, gets the chart.

    Raises UserError with what is missing and how to get it.
    """
    tools.require()
    resolved = chart.resolve(wanted.chart, wanted.chart_version, tools.find("helm"))
    cluster = Cluster(wanted.cluster)
    config = Path(wanted.config) if wanted.config else None
    cluster.ensure(wanted.node_image, wanted.nodes, config)
    for image in (airflow_image, wanted.postgres_image):
        images.load(cluster, image)
    return Deployment(
        cluster=wanted.cluster,
        kubeconfig=str(cluster.kubeconfig),
        chart=str(resolved.path),
        postgres_image=wanted.postgres_image,
        layers=wanted.layers,
        values=wanted.values,
    )


@cache
def build_of(cluster: str, image: str) -> str:
    """Return the build that a loaded image is: one tag may be given to several.

    Empty where the cluster's nodes do not have it.
    """
    node = Node(str(Cluster(cluster).nodes()[0].name))
    return image_build([images.digest(images.listing(node), image)])
