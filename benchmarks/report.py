"""How long the report of many runs takes to build, how large it is, and how much memory it takes.

    .venv/bin/python -m benchmarks.report reports/runs
    .venv/bin/python -m benchmarks.report reports/runs --sizes 1 50 200

The runs are those of a folder, repeated under other time stamps until there are enough; the
largest comes first, so that a single run is not the least of them. Nothing is drawn beforehand.
Files are hard links, and the folders are gone in the end.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks import measured

SIZES = (1, 50, 200)
DRAWN = shutil.ignore_patterns("timeline.html", "witness.svg", "witness.png")

_PREPARE = """
from reports.dashboard.assembly import build
from reports.gate.policy import read_policy
from reports.store import read_runs
runs, out, policy = folders
"""


class Measured(NamedTuple):
    """A build's seconds, its Python's peak of MB, and the MB and files of what it made."""

    seconds: float
    memory: int
    megabytes: float
    files: int


def repeat(runs: Sequence[Path], number: int, into: Path) -> None:
    """Make `number` runs of those that there are, each an hour after the one before."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for index in range(number):
        run = runs[index % len(runs)]
        stamp = f"{first + timedelta(hours=index):%Y%m%d-%H%M%S}"
        name = f"{stamp}-{run.name.split('-', 2)[-1]}"
        shutil.copytree(run, into / name, copy_function=os.link, ignore=DRAWN)


def measure(runs: Path, out: Path, policy: Path, *, allure: bool) -> Measured:
    """Build a report in a process of its own."""
    build = f"build(read_runs([runs]), out, read_policy(policy), allure={allure})"
    seconds, memory = measured(_PREPARE, build, runs, out, policy)
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    return Measured(seconds, memory, size, len(files))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size, with and without Allure; print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="the folder of runs to repeat")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="how many runs")
    parser.add_argument("--policy", type=Path, default=Path("reports/policy.yaml"))
    options = parser.parse_args(arguments)
    runs = [path for path in options.runs.iterdir() if (path / "session.json").exists()]
    if not runs:
        parser.error(f"there is no run in {options.runs}")
    runs = sorted(runs, key=_weight, reverse=True)
    for number in options.sizes:
        for allure in (False, True):
            # Beside the runs: hard links do not cross file systems.
            with tempfile.TemporaryDirectory(dir=options.runs.resolve().parent) as temporary:
                shelf, out = Path(temporary, "runs"), Path(temporary, "site")
                repeat(runs, number, shelf)
                found = measure(shelf, out, options.policy, allure=allure)
            which = "allure" if allure else "alone"
            print(
                f"{number:4} runs, {which:6}: {found.seconds:6.1f} s, {found.megabytes:6.1f} MB "
                f"in {found.files} files, {found.memory} MB of memory",
                flush=True,
            )
    return 0


def _weight(run: Path) -> tuple[int, str]:
    return sum(path.stat().st_size for path in run.rglob("history.ndjson")), run.name


if __name__ == "__main__":
    sys.exit(main())
