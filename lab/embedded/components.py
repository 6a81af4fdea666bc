"""What each process of an embedded lab is started with."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.paths import PROJECT
from lab.environments.drivers import database_urls
from lab.environments.settings import NAMESPACE, Endpoints, airflow_settings, clean_environment
from lab.spec import LabSpec

NODE = "lab-node"


@dataclass(frozen=True)
class Component:
    """One process to start: its name is its log's and its Postgres application_name.

    Our own run in the project's folder, which `python -m` puts on their path: a PYTHONPATH would
    reach the workers too.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: Path = PROJECT


def proxy(postgres_port: int) -> Component:
    """Return the latency proxy in front of Postgres."""
    argv = [
        *(sys.executable, "-m", "lab.dbproxy", "--listen", "127.0.0.1:0"),
        *("--upstream", f"127.0.0.1:{postgres_port}", "--control", "127.0.0.1:0"),
    ]
    return Component("dbproxy", argv, dict(os.environ))


def kubeapi(pod_logs: Path) -> Component:
    """Return the embedded Kubernetes API."""
    argv = [sys.executable, "-m", "lab.kubeapi", "--port", "0", "--logs", str(pod_logs)]
    return Component("kubeapi", argv, dict(os.environ))


def airflow_components(spec: LabSpec, directory: Path, at: Endpoints) -> Iterator[Component]:
    """Yield Airflow's own daemons, each under its name."""
    python = str(spec.airflow.python)
    commands = {
        "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(at.api)],
        "dag-processor": ["dag-processor"],
        **{f"scheduler-{n}": ["scheduler"] for n in range(1, spec.schedulers + 1)},
        **{f"triggerer-{n}": ["triggerer"] for n in range(1, spec.triggerers + 1)},
    }
    commands["api-server"] += ["--workers", "1"]
    for name, command in commands.items():
        env = airflow_env(spec, directory, at, name)
        yield Component(name, [python, "-m", "airflow", *command], env, directory / "airflow")


def airflow_env(spec: LabSpec, directory: Path, at: Endpoints, name: str) -> dict[str, str]:
    """Return the environment of one Airflow process."""
    home = directory / "airflow"
    return {
        **clean_environment(spec.airflow, home),
        **database_urls(spec.airflow, at.proxy, at.password, name),
        **airflow_settings(at, home, PROJECT / "dags"),
        **spec.env,
        "PGAPPNAME": name,
    }


def kubelet(spec: LabSpec, directory: Path, at: Endpoints, ledger: str) -> Component:
    """Return the kubelet; it runs in the suite's Python, its workers in Airflow's.

    The workers' environment is the kubelet's own, as on a node.
    """
    argv = [
        *(sys.executable, "-m", "lab.kubelet", "--kubeconfig", str(directory / "kubeconfig")),
        *("--namespace", NAMESPACE, "--node", NODE, "--mode", spec.kubelet),
        *("--python", str(spec.airflow.python), "--logs", str(directory / "pods")),
        *("--work", str(directory / "airflow"), "--start-delay", str(spec.start_delay)),
        *("--execution-api", f"http://127.0.0.1:{at.api}/execution/"),
    ]
    env = airflow_env(spec, directory, at, "worker")
    return Component("kubelet", argv, env | {"HA_CHAOS_LEDGER": ledger})
