"""The same flood on two kinds of lab, side by side: verdict, speed, and how long a start takes.

    .venv/bin/pytest suites -k without_chaos --airflow 3.3.2 --flood-runs 2 --seed 1
    .venv/bin/pytest suites -k without_chaos --airflow 3.3.2 --flood-runs 2 --seed 1 --lab kind
    .venv/bin/python -m benchmarks.sides reports/runs/*/tests/*without_chaos*

It reads the folders that tests leave: verdict.json and history.ndjson. The latencies are between
commits of the task instances' rows, and between changes of the pods as the watch tells them.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from oracle.events import Event, PodEvent, TaskInstanceEvent, TaskInstanceKey
from oracle.history import HistoryError, read

Spans = dict[str, list[float]]


def spans(events: Iterable[Event]) -> Spans:
    """Return, in seconds: scheduled to queued, queued to running, pod made to running, and ends."""
    found: Spans = {
        "queueing": [],
        "start": [],
        "pod": [],
        "scheduled": [],
        "ended": [],
        "pods": [],
    }
    since: dict[tuple[TaskInstanceKey, str], float] = {}
    made: dict[str, float] = {}
    for event in events:
        if isinstance(event, TaskInstanceEvent) and event.new:
            _transition(event, since, found)
        elif isinstance(event, PodEvent):
            if event.op == "added":
                made[event.uid] = event.t
                found["pods"].append(event.t)
            elif event.phase == "Running" and event.uid in made:
                found["pod"].append(event.t - made.pop(event.uid))
    return found


def _transition(
    event: TaskInstanceEvent, since: dict[tuple[TaskInstanceKey, str], float], found: Spans
) -> None:
    assert event.new is not None
    state = event.new.state or ""
    if event.old is not None and event.old.state == state:
        return
    before = {"queued": ("scheduled", "queueing"), "running": ("queued", "start")}.get(state)
    if before and (begun := since.pop((event.ti, before[0]), None)) is not None:
        found[before[1]].append(event.t - begun)
    since[event.ti, state] = event.t
    if state == "scheduled":
        found["scheduled"].append(event.t)
    elif state in ("success", "failed"):
        found["ended"].append(event.t)


def p50_p95(values: list[float]) -> str:
    """Return the median and the 95th percentile."""
    if len(values) < 2:
        return "-"
    return f"{statistics.median(values):.2f} / {statistics.quantiles(values, n=20)[-1]:.2f}"


def row(folder: Path) -> list[str]:
    """Return one run's figures."""
    verdict = json.loads((folder / "verdict.json").read_text())
    found = spans(read(folder / "history.ndjson")[1])
    lasted = max(found["ended"], default=0.0) - min(found["scheduled"], default=0.0)
    rate = f"{len(found['ended']) / lasted:.2f}" if lasted else "-"
    making = max(found["pods"], default=0.0) - min(found["pods"], default=0.0)
    pods = f"{len(found['pods']) / making:.2f}" if making else "-"
    boot = f"{sum(verdict.get('boot', {}).values()):.0f}"
    return [
        *(verdict["lab"], verdict["workers"], verdict["version"], verdict["verdict"]),
        *(str(len(found["ended"])), rate, p50_p95(found["queueing"]), p50_p95(found["start"])),
        *(p50_p95(found["pod"]), pods, boot),
    ]


HEADS = [
    *("lab", "workers", "Airflow", "verdict", "TIs", "TIs/s", "queueing s", "start s"),
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
    print("queueing, start, pod to running: median / 95th percentile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
