"""How long a lab takes to boot, against another checkout of this project.

    git worktree add ../before d7083eb && ln -s "$PWD/.venv" ../before/.venv
    python -m benchmarks.boot 3.3.2 --against ../before

Both boot in turns: a first lab and, where the checkout can do that, the same lab again in its
place with other settings. Printed are seconds by the clock, Airflow's part of them, and the CPU
seconds of all processes, the lab's end included. What comes before a boot, such as making its
environment, is done already.
"""

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.sessions import timed
from benchmarks.sides import p50_p95
from common.paths import PROJECT

_PROGRAM = r"""
import json, sys, time
from dataclasses import replace
from lab import life
from lab.environments.preparation import prepare
from lab.pool import Owner
from lab.spec import LabSpec

me = Owner.me()
spec = LabSpec(prepare(sys.argv[1]), env={"HA_CHAOS_SHAPES": "single"})
if sys.argv[2] == "cold":
    spec = replace(spec, cold=True)
begun = time.monotonic()
lab = life.start(spec, owner=(me.pid, me.born))
found = [["first", time.monotonic() - begun, lab.boot["Airflow"]]]
if hasattr(life, "reboot") and sys.argv[2] != "cold":
    setting = {"AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20"}
    begun = time.monotonic()
    lab = life.reboot(lab.directory, replace(spec, env={**spec.env, **setting}),
                      owner=(me.pid, me.born))
    found.append(["again", time.monotonic() - begun, lab.boot["Airflow"]])
lab.stop()
print(json.dumps(found))
"""


def boots(checkout: Path, airflow: str, how: str) -> tuple[list[tuple[str, float, float]], float]:
    """Return (which, seconds, Airflow's part) of each boot, and the CPU seconds of all."""
    command = [sys.executable, "-c", _PROGRAM, airflow, how]
    _, cpu, done = timed(command, checkout, dict(os.environ))
    if done.returncode:
        raise SystemExit(f"error: a boot in {checkout} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return [tuple(each) for each in found], cpu


def main() -> None:
    """Boot in turns, and print the medians and their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("airflow", metavar="VERSION")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    sides = [("here", PROJECT, "forks"), ("here, cold", PROJECT, "cold")]
    if options.against:
        sides.append(("against", options.against, "plain"))
    seconds: dict[str, list[float]] = defaultdict(list)
    parts: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for side, checkout, how in sides:
            found, cpu = boots(checkout, options.airflow, how)
            print(f"{side:12} {found}, {cpu:.1f} s of CPU", file=sys.stderr)
            for which, whole, part in found:
                seconds[f"{side}, {which}"].append(whole)
                parts[f"{side}, {which}"].append(part)
    base = statistics.median(parts[f"{sides[-1][0]}, first"])
    for name, all_of_it in seconds.items():
        part_of_it = parts[name]
        ratio = statistics.median(part_of_it) / base
        print(f"{name:18} {p50_p95(all_of_it)} s; Airflow {p50_p95(part_of_it)} s, {ratio:.2f} x")
    print("median / 95th percentile")


if __name__ == "__main__":
    main()
