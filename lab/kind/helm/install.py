"""What helm makes of a chart and some values: manifests, or a release in a namespace."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from common.environment import inherited
from common.errors import UserError
from common.files import last_line
from common.spawn import end_all, spawn
from lab.kind.helm.chart import Chart, complaint
from lab.kind.tools import ProgramError, find, run

RELEASE = "airflow"
_LIMIT = 120.0


def render(
    helm: Path | str, chart: Chart, values: Mapping[str, Any], namespace: str
) -> list[dict[str, Any]]:
    """Return the manifests of a release; UserError with helm's own words where it refuses."""
    command = [helm, "template", RELEASE, chart.path, "--namespace", namespace, "--values", "-"]
    try:
        rendered = run(command, limit=_LIMIT, text=yaml.safe_dump(dict(values), sort_keys=False))
    except ProgramError as error:
        raise UserError(
            f"The chart {chart.name} {chart.version} does not take these values: {complaint(error)}"
        ) from error
    return [each for each in yaml.safe_load_all(rendered) if each]


class Install:
    """Installs a chart into a namespace; what Helm writes goes to `logs`/helm.log.

    It does not wait for the pods: `lab.kube.readiness` does, and says what they wait for. Hooks
    that the chart has are Helm's to wait for.
    """

    def __init__(
        self, chart: str, namespace: str, values: Path, kubeconfig: Path, logs: Path
    ) -> None:
        self._argv: list[str | Path] = [
            *(find("helm"), "install", RELEASE, chart, "--namespace", namespace),
            *("--values", values, "--kubeconfig", kubeconfig, "--timeout", "15m"),
        ]
        self._log = logs / "helm.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start Helm and return at once."""
        self._child = spawn(self._argv, env=inherited(), cwd=Path.cwd(), log=self._log)

    def done(self) -> bool:
        """Tell whether Helm has ended well; UserError with its last words when it ended badly."""
        assert self._child is not None
        code = self._child.poll()
        if code:
            reason = last_line(self._log.read_text(errors="replace"), "it gave no reason")[:500]
            raise UserError(f"helm install failed: {reason}", f"See {self._log}.")
        return code == 0

    def stop(self) -> None:
        """End Helm, if it is still at work."""
        if self._child is not None and self._child.poll() is None:
            end_all([self._child.pid], grace=3.0)
