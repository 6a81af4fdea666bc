"""What a chart makes of some values: the manifests, without a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError
from lab.helm import cli
from lab.helm.chart import Chart

RELEASE = "airflow"


def render(
    helm: Path | str, chart: Chart, values: Mapping[str, Any], namespace: str
) -> list[dict[str, Any]]:
    """Return the manifests of a release; LabError with helm's own words where it refuses."""
    command = [str(helm), "template", RELEASE, str(chart.path)]
    command += ["--namespace", namespace, "--values", "-"]
    done = cli.run(command, yaml.safe_dump(dict(values), sort_keys=False))
    if done.returncode:
        raise LabError(
            f"The chart {chart.name} {chart.version} does not take these values: "
            f"{cli.complaint(done.stderr)}"
        )
    return [each for each in yaml.safe_load_all(done.stdout) if each]
