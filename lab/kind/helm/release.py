"""`helm install` of one release, as a child process that can be watched and ended."""

import os
import subprocess
from pathlib import Path

from common.errors import UserError
from common.spawn import end_all, spawn
from lab.kind.tools import find
from lab.kube import names


class Install:
    """Installs a chart into a namespace; what Helm says goes to `logs`/helm.log.

    It does not wait for the pods: `lab.kube.readiness` does, and tells what they wait for. Hooks
    that the chart has are Helm's to wait for.
    """

    def __init__(
        self, chart: str, namespace: str, values: Path, kubeconfig: Path, logs: Path
    ) -> None:
        self._argv: list[str | Path] = [
            *(find("helm"), "install", names.RELEASE, chart, "--namespace", namespace),
            *("--values", values, "--kubeconfig", kubeconfig, "--timeout", "15m"),
        ]
        self._log = logs / "helm.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start Helm and return at once."""
        self._child = spawn(self._argv, env=dict(os.environ), cwd=Path.cwd(), log=self._log)

    def done(self) -> bool:
        """Tell whether Helm has ended well; UserError with its last words when it ended badly."""
        assert self._child is not None
        code = self._child.poll()
        if code:
            lines = self._log.read_text(errors="replace").strip().splitlines()
            last = (lines or ["it said nothing"])[-1]
            raise UserError(f"helm install failed: {last[:500]}", f"See {self._log}.")
        return code == 0

    def stop(self) -> None:
        """End Helm, if it is still at work."""
        if self._child is not None and self._child.poll() is None:
            end_all([self._child.pid], grace=3.0)
