"""The lab that a test gets: of which kind, and with what in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.options import Options
from lab.base import Airflow
from lab.environments.preparation import prepare
from lab.environments.request import describe
from lab.kind.helm.values import OWN_DAGS
from lab.kind.provision import build_of, deployment
from lab.spec import LabSpec


@dataclass(frozen=True)
class Wants:
    """What a test wants of its lab.

    `simulated` workers and daemons that start `cold` are for the embedded lab: on a cluster all
    workers are real, and nothing is a fork. `layers` of values are for the cluster alone. There are
    `triggerers` at least; somebody else's deployment has as many as it has.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    cold: bool = False
    triggerers: int = 0
    layers: tuple[str, ...] = ()


def wanted_lab(airflow: str, options: Options, wants: Wants = Wants()) -> LabSpec:
    """Return the lab to lease; what it is made of is fetched or made first, where it is missing."""
    triggerers = max(wants.triggerers, options.triggerers)
    if options.lab == "embedded":
        return LabSpec(
            prepare(airflow),
            options.schedulers,
            triggerers,
            kubelet="simulated" if wants.simulated else "fork",
            cold=wants.cold or options.cold,
            env=dict(wants.env),
            dags=options.dags,
        )
    if options.cluster is not None:
        there = options.cluster
        found = Airflow(there.version, there.version, image=there.image, build=there.build)
        return LabSpec(found, there.schedulers, attachment=there.attachment)

    request, wanted = describe(airflow), options.kind
    image = wanted.airflow_image.replace("{version}", request.version)
    layers = (*wants.layers, "triggerer") if triggerers else wants.layers
    layers = (*layers, OWN_DAGS) if options.dags else layers
    layered = replace(wanted, layers=(*wanted.layers, *layers))
    place = deployment(layered, request.version, image, options.schedulers)
    build = build_of(place.cluster, image)
    return LabSpec(
        Airflow(request.label, request.version, image=image, build=build),
        options.schedulers,
        triggerers,
        env=dict(wants.env),
        dags=options.dags,
        deployment=place,
    )
