"""`python -m lab values`: what a lab gives the chart, and what becomes of values of one's own."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from lab.environments.pins import newest
from lab.kind.helm.chart import inspect
from lab.kind.helm.install import render
from lab.kind.helm.own import accept
from lab.kind.helm.rendered import require
from lab.kind.helm.values import (
    DEFAULT_LAYERS,
    dag_files,
    dag_variables,
    known_layers,
    lab_values,
)
from lab.kind.tools import find

_IMAGE = "apache/airflow"
_ABOUT = """\
Print the Helm values of a lab, merged from the layers in charts-values/: one file a concern, each
with the reason for what it sets. Layers given are added to the default ones; a variant
(liveness-defaults) takes the place of what it varies.

  python -m lab values --airflow 3.0.6 > values.yaml
  helm install airflow apache-airflow/airflow --version 1.18.0 -f values.yaml

With --values, what of them cannot be had or is not taken is told on standard error, as `pytest
suites/ --lab kind` tells it before it starts anything; keys that the chart does not know, and
whether it renders all that a lab needs, with --chart alone.

A release installed with them needs what a lab makes first: the Secrets ha-chaos-metadata (key
connection) and ha-chaos-ledger (key dsn), and the ConfigMap ha-chaos-dags (the files of dags/).
HA_CHAOS_SHAPES, _SLEEP, _SEED and the like of the environment are passed on to the DAGs.

Values of your own are printed as they are, secrets too, for helm needs them: keep what is printed
as you keep those.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `python -m lab`."""
    parser = subparsers.add_parser(
        "values",
        help="print the merged Helm values of a lab",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(work=run)
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
    parser.add_argument(
        "--airflow-image", metavar="I", help=f"NAME:TAG (default: {_IMAGE}:VERSION)"
    )
    parser.add_argument(
        "--values",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="values of your own, merged last, repeatable",
    )
    parser.add_argument(
        "--chart", metavar="CHART", help="the chart to check against: a folder or a .tgz file"
    )


def run(options: argparse.Namespace) -> int:
    """Print the values; UserError for what cannot be."""
    lab = lab_values(
        options.airflow,
        schedulers=options.schedulers,
        image=options.airflow_image or f"{_IMAGE}:{options.airflow}",
        layers=options.layer,
        env=dag_variables(os.environ),
        dag_files=dag_files(),
    )
    chart = inspect(Path(options.chart)) if options.chart else None
    accepted = accept(options.values, lab, chart)
    if chart:
        require(render(find("helm"), chart, accepted.values, "ha-chaos"), lab, accepted.values)
    for note in accepted.notes:
        print(note, file=sys.stderr)
    print(yaml.safe_dump(accepted.values, sort_keys=False, width=100), end="")
    return 0
