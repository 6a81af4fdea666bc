"""The dashboard of all runs: one folder of static pages, to be opened in a browser.

index.html says which Airflow versions are safe to run with several schedulers, which are not and
why, with the race drawn. Beside it are the matrix, the known races, what explorations found, a page
for every run with its witnesses and timelines, the gate's decision (gate.md, gate.json), and the
Allure report, if Node.js is installed.
The old report stays in place until the new one is complete.

examples:
  python -m reports build
  python -m reports build reports/runs/latest --out /tmp/one-run
  python -m reports build --no-allure
"""

import argparse
from pathlib import Path

from reports.dashboard.assembly import build
from reports.gate.policy import read_policy
from reports.store import read_runs


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the runs to show, and where to put the report."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUNS",
        help="run folders, or folders of them (default: reports/runs)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reports/site"),
        help="where to put it (default: %(default)s)",
    )
    parser.add_argument(
        "--policy",
        type=Path,
        default=Path("reports/policy.yaml"),
        help="what a release is held to (reports/policy.yaml)",
    )
    parser.add_argument("--no-allure", action="store_true", help="leave the Allure report out")


def run(options: argparse.Namespace) -> int:
    """Build it; the page to open is the last line on stdout."""
    policy = read_policy(options.policy)
    runs = read_runs(options.runs or [Path("reports/runs")])
    print(build(runs, options.out, policy, allure=not options.no_allure))
    return 0
