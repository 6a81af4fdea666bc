"""What a chart makes of some values: the manifests, without a cluster."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError
from lab.kind.helm import cli
from lab.kind.helm.chart import Chart

RELEASE = "airflow"

_WORKLOADS = ("Deployment", "StatefulSet")
_EXPECTED = ("scheduler", "api-server", "dag-processor")


def render(
    helm: Path | str, chart: Chart, values: Mapping[str, Any], namespace: str
) -> list[dict[str, Any]]:
    """Return the manifests of a release; UserError with helm's own words where it refuses."""
    command = [str(helm), "template", RELEASE, str(chart.path)]
    command += ["--namespace", namespace, "--values", "-"]
    done = cli.run(command, yaml.safe_dump(dict(values), sort_keys=False))
    if done.returncode:
        raise UserError(
            f"The chart {chart.name} {chart.version} does not take these values: "
            f"{cli.complaint(done.stderr)}"
        )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def require_components(manifests: Iterable[Mapping[str, Any]], values: Mapping[str, Any]) -> None:
    """Raise UserError when a component that a lab needs was not rendered.

    The chart leaves out in silence what it takes for a part of another Airflow than the values
    name, and Helm then installs a release that never answers.
    """
    rendered = {
        each["metadata"].get("labels", {}).get("component")
        for each in manifests
        if each["kind"] in _WORKLOADS
    }
    triggerer = ["triggerer"] if (values.get("triggerer") or {}).get("enabled") else []
    missing = [name for name in [*_EXPECTED, *triggerer] if name not in rendered]
    if missing:
        raise UserError(
            f"With these values the chart renders no {' and no '.join(missing)} for Airflow "
            f"{values.get('airflowVersion')}.",
            "Look in your own values for what turns it off: airflowVersion, apiServer.enabled, "
            "dagProcessor.enabled.",
        )
