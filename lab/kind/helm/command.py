"""`python -m lab values`: print what a release would be installed with."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from common.paths import PROJECT
from lab.environments.pins import newest
from lab.kind.helm.values import DEFAULT_LAYERS, known_layers, merged

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DAGS = PROJECT / "dags"
IMAGE = "apache/airflow"
VARIABLES = (
    "SHAPES",
    "SLEEP",
    "SEED",
    "RETRIES",
    "RETRY_DELAY",
    "POKE_INTERVAL",
    "MAX_ACTIVE_TASKS",
)

_ABOUT = """\
Print the Helm values of a lab, merged from the layers in charts-values/: one file a concern, each
with the reason for what it sets. Layers given are added to the default ones; a variant
(liveness-defaults) takes the place of what it varies.

  python -m lab values --airflow 3.0.6 > values.yaml
  helm install airflow apache-airflow/airflow --version 1.18.0 -f values.yaml

A release installed with them needs what a lab makes first: the Secrets ha-chaos-metadata (key
connection) and ha-chaos-ledger (key dsn), and the ConfigMap ha-chaos-dags (the files of dags/).
HA_CHAOS_SHAPES, _SLEEP, _SEED and the like of the environment are
passed on to the DAGs.
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command to `python -m lab`."""
    parser = subparsers.add_parser(
        "values",
        help="print the merged Helm values of a lab",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--airflow", default=newest(), metavar="V", help="a version (default: %(default)s)"
    )
    parser.add_argument(
        "--schedulers", type=int, default=2, metavar="N", help="replicas (default: %(default)s)"
    )
    others = ", ".join(name for name in known_layers() if name not in DEFAULT_LAYERS)
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="L",
        help=f"add a layer, repeatable: {others} (default: {', '.join(DEFAULT_LAYERS)})",
    )
    parser.add_argument("--airflow-image", metavar="I", help=f"NAME:TAG (default: {IMAGE}:VERSION)")
    parser.add_argument(
        "--values",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="values of your own, merged last, repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Print the values; UserError for what cannot be."""
    values = merged(
        options.airflow,
        schedulers=options.schedulers,
        image=options.airflow_image or f"{IMAGE}:{options.airflow}",
        layers=options.layer,
        env=dag_variables(os.environ),
        dag_files=dag_files(),
        extra=options.values,
    )
    print(yaml.safe_dump(values, sort_keys=False, width=100), end="")
    return 0


def dag_files(folder: Path = DAGS) -> list[str]:
    """Return the files of dags/ that a lab mounts: modules, and the list of what is no DAG."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix == ".py" or path.name == ".airflowignore"
    )


def dag_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the HA_CHAOS_ variables that the DAGs read, and no other: some hold secrets."""
    names = [f"HA_CHAOS_{name}" for name in VARIABLES]
    return {name: environ[name] for name in names if environ.get(name)}
