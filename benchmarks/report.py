"""How long the report of many runs takes to build, how large it is, and how much memory it takes.

    .venv/bin/python -m benchmarks.report reports/runs
    .venv/bin/python -m benchmarks.report reports/runs --sizes 1 50 200

The runs are those of a folder, repeated under other time stamps until there are enough; the
largest comes first, so that a single run is not the least of them. Nothing is drawn beforehand.
Files are hard links, and the folders are gone in the end.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

SIZES = (1, 50, 200)
DRAWN = shutil.ignore_patterns("timeline.html", "witness.svg", "witness.png")

_BUILD = """
import json, resource, sys, time
from pathlib import Path
from reports.dashboard.assembly import build
from reports.gate.policy import read_policy
from reports.store import read_runs
runs, out, policy, allure = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
begun = time.perf_counter()
build(read_runs([runs]), out, read_policy(policy), allure=allure == "allure")
seconds = time.perf_counter() - begun
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"seconds": seconds, "memory": memory}))
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


def measure(runs: Path, out: Path, policy: Path, allure: str) -> Measured:
    """Build a report in a process of its own."""
    command = [sys.executable, "-c", _BUILD, *map(str, (runs, out, policy)), allure]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    return Measured(told["seconds"], told["memory"], size, len(files))


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
        for allure in ("alone", "allure"):
            # Beside the runs: hard links do not cross file systems.
            with tempfile.TemporaryDirectory(dir=options.runs.resolve().parent) as temporary:
                shelf, out = Path(temporary, "runs"), Path(temporary, "site")
                repeat(runs, number, shelf)
                found = measure(shelf, out, options.policy, allure)
            print(
                f"{number:4} runs, {allure:6}: {found.seconds:6.1f} s, {found.megabytes:6.1f} MB "
                f"in {found.files} files, {found.memory} MB of memory",
                flush=True,
            )
    return 0


def _weight(run: Path) -> tuple[int, str]:
    return sum(path.stat().st_size for path in run.rglob("history.ndjson")), run.name


if __name__ == "__main__":
    sys.exit(main())
