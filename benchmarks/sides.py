"""The same flood on two kinds of lab, side by side: verdict, speed, and how long a start takes.

    .venv/bin/pytest suites -k without_chaos --airflow 3.3.2 --flood-runs 2 --seed 1
    .venv/bin/pytest suites -k without_chaos --airflow 3.3.2 --flood-runs 2 --seed 1 --lab kind
    .venv/bin/python -m benchmarks.sides reports/runs/*/tests/*without_chaos*

It reads the folders that tests leave: verdict.json and history.ndjson. The latencies are between
commits of the task instances' rows, and between changes of the pods as the watch tells them.
"""

import argparse
import json
import sys
from pathlib import Path

from oracle.history import HistoryError
from reports.metrics import HISTORY, measure
from reports.resampling import figure
from reports.store import VERDICT


def p50_p95(values: list[float]) -> str:
    """Return the median and the 95th percentile."""
    return f"{figure(values, 'p50'):.2f} / {figure(values, 'p95'):.2f}" if values else "-"


def row(folder: Path) -> list[str]:
    """Return one run's figures."""
    verdict = json.loads((folder / VERDICT).read_text())
    found = measure(folder / HISTORY)
    boot = f"{sum(verdict.get('boot', {}).values()):.0f}"
    return [
        *(verdict["lab"], verdict.get("workers", ""), verdict["version"], verdict["verdict"]),
        *(str(found.ended), f"{found.throughput:.2f}", p50_p95(found.lag)),
        *(p50_p95(found.queueing), p50_p95(found.start), p50_p95(found.pod_start)),
        *(f"{found.pods_per_second:.2f}", boot),
    ]


HEADS = [
    *("lab", "workers", "Airflow", "verdict", "TIs", "TIs/s", "lag s", "queueing s", "start s"),
    *("pod to running s", "pods/s", "boot s"),
]


def main() -> int:
    """Print the table; 2 where a folder holds no run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    try:
        rows = [HEADS, *(row(folder) for folder in parser.parse_args().folders)]
    except (OSError, HistoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    widths = [max(len(each[column]) for each in rows) for column in range(len(HEADS))]
    for each in rows:
        print("  ".join(text.ljust(width) for text, width in zip(each, widths, strict=True)))
    print("lag, queueing, start, pod to running: median / 95th percentile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
