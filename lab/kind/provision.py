"""All that a kind lab needs before its release can be installed: cluster, images, chart, values."""

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.base import image_build
from lab.kind import images, tools
from lab.kind.cluster import Cluster
from lab.kind.helm.chart import Chart, resolve
from lab.kind.helm.install import render
from lab.kind.helm.own import accept
from lab.kind.helm.rendered import require
from lab.kind.helm.values import dag_files, lab_values
from lab.kind.node import Node
from lab.spec import Deployment

log = logging.getLogger(__name__)


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


_TOLD: list[str] = []


@cache
def deployment(wanted: Provision, version: str, airflow_image: str, schedulers: int) -> Deployment:
    """Return where and how to deploy: makes the cluster, loads the images, gets the chart.

    The user's values are looked through first. Raises UserError with what is missing or wrong, and
    how to get or mend it.
    """
    tools.require()
    resolved = resolve(wanted.chart, wanted.chart_version, tools.find("helm"), version)
    look_through(wanted, resolved, version, airflow_image, schedulers)
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


def look_through(
    wanted: Provision, chart: Chart, version: str, image: str, schedulers: int
) -> None:
    """Have the chart rendered with the values to be, and log once what their user should know.

    Raises UserError for values that are not to be used, with all that is wrong with them.
    """
    lab = lab_values(
        version,
        schedulers=schedulers,
        image=image,
        layers=wanted.layers,
        dag_files=dag_files(),
    )
    accepted = accept([Path(each) for each in wanted.values], lab, chart)
    require(render(tools.find("helm"), chart, accepted.values, "ha-chaos"), lab, accepted.values)
    for note in accepted.notes:
        if note not in _TOLD:
            _TOLD.append(note)
            log.warning("%s", note)


def told() -> list[str]:
    """Return what this process has logged about its user's values."""
    return list(_TOLD)


@cache
def build_of(cluster: str, image: str) -> str:
    """Return the build that a loaded image is: one tag may be given to several.

    Empty where the cluster's nodes do not have it.
    """
    node = Node(str(Cluster(cluster).nodes()[0].name))
    return image_build([images.digest(images.listing(node), image)])
