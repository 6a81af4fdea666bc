"""How often a race shows: runs the suite repeatedly and gives exact 95 % intervals.

    .venv/bin/python -m benchmarks.rates gated --count 20 3.0.4 3.0.6 3.1.1 3.1.8 3.2.0 3.3.2
    .venv/bin/python -m benchmarks.rates floods 3.0.6 3.3.2
    .venv/bin/python -m benchmarks.rates clean --count 20 3.3.2

Each is one pytest session a version, as a user would run it; the figures are read from the
verdict.json that it leaves. Intervals are Clopper and Pearson's.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

PROJECT = Path(__file__).resolve().parent.parent
LATEST = PROJECT / "reports" / "runs" / "latest"
CHOICES = {
    "gated": ["-k", "gated"],
    "floods": ["-k", "flood", "--whole-flood"],
    "clean": ["-k", "without_chaos"],
}


def session(what: str, version: str, count: int) -> list[dict[str, Any]]:
    """Run one session; return the verdicts of its tests."""
    command = [sys.executable, "-m", "pytest", "suites", "-q", "-p", "no:cacheprovider"]
    command += [*CHOICES[what], "--airflow", version, "--count", str(count)]
    subprocess.run(command, cwd=PROJECT, check=False, stdout=sys.stderr)
    tests: list[dict[str, Any]] = json.loads((LATEST / "verdict.json").read_text())["tests"]
    return tests


def interval(hits: int, trials: int) -> str:
    """Return a rate's exact 95 % interval."""
    bounds = binomtest(hits, trials).proportion_ci(method="exact")
    return f"{bounds.low:.1%} to {bounds.high:.1%}"


def by_test(tests: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group repetitions of the same test."""
    groups = defaultdict(list)
    for test in tests:
        name = test["test"].split("::")[-1]
        groups[re.sub(r"[-[]embedded-.*", "", name)].append(test)
    return groups


def report(version: str, tests: list[dict[str, Any]]) -> None:
    """Print one line a test: runs, and task instances scheduled twice in a thousand."""
    for name, group in by_test(tests).items():
        shown = sum(test["verdict"] == "invalid" for test in group)
        unknown = sum(test["verdict"] == "unknown" for test in group)
        twice = sum(test["duplicate_tries"] for test in group)
        instances = sum(test["task_instances"] for test in group)
        first = [test["time_to_first_violation"] for test in group]
        times = sorted(time for time in first if time is not None)
        median = f"{times[len(times) // 2]:.2f} s" if times else "never"
        runs = f"{shown} of {len(group)} runs ({interval(shown, len(group))})"
        print(
            f"{version:<7} {name:<50} {runs}, {unknown} unknown; "
            f"{twice} of {instances} task instances twice, "
            f"{1000 * twice / max(1, instances):.1f} in 1,000 ({interval(twice, instances)}); "
            f"{sum(t['duplicate_pods'] for t in group)} with two pods, "
            f"{sum(t['refused_starts'] for t in group)} starts refused; first after {median}",
            flush=True,
        )


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=CHOICES)
    parser.add_argument("--count", type=int, default=1, help="runs of each test (%(default)s)")
    parser.add_argument("versions", nargs="+")
    options = parser.parse_args()
    for version in options.versions:
        report(version, session(options.what, version, options.count))


if __name__ == "__main__":
    main()
