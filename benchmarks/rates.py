"""How often a race shows: runs the suite repeatedly, gives exact intervals, compares versions.

    .venv/bin/python -m benchmarks.rates held --count 20 3.0.4 3.0.6 3.1.1 3.1.8 3.2.0 3.3.2
    .venv/bin/python -m benchmarks.rates floods --seed 1 3.0.6 3.3.2
    .venv/bin/python -m benchmarks.rates clean --count 20 3.3.2
    .venv/bin/python -m benchmarks.rates held --read reports/runs

Each is one pytest session a version, as a user would run it; the figures are read from the records
that it leaves. With --read nothing is run: the runs that are there are counted. What the versions
of a comparison have in common, tests and seeds, is compared with each other.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from common.errors import UserError
from oracle.old_names import present_expression
from reports.records import TestRecord
from reports.resampling import figure
from reports.statistics import Rate, compare_outcomes
from reports.store import read_run, read_runs

PROJECT = Path(__file__).resolve().parent.parent
LATEST = PROJECT / "reports" / "runs" / "latest"
CHOICES = {
    "held": ["-k", "held"],
    "floods": ["-k", "flood", "--whole-flood"],
    "clean": ["-k", "without_chaos"],
}
_WORDS = {"held": "test_held", "floods": "test_flood", "clean": "without_chaos"}


def session(what: str, version: str, count: int, seed: int | None) -> tuple[TestRecord, ...]:
    """Run one session; return the records of its tests."""
    command = [sys.executable, "-m", "pytest", "suites", "-q", "-p", "no:cacheprovider"]
    command += [*CHOICES[what], "--airflow", version, "--count", str(count)]
    command += [] if seed is None else ["--seed", str(seed)]
    subprocess.run(command, cwd=PROJECT, check=False, stdout=sys.stderr)
    return read_run(LATEST.resolve()).tests


def kept(what: str, paths: Sequence[Path], versions: Sequence[str]) -> Iterable[TestRecord]:
    """Return the records of runs that are there already."""
    for test in read_runs(paths).tests:
        if _WORDS[what] in test.test and (not versions or test.airflow in versions):
            yield test


def report(version: str, tests: Iterable[TestRecord]) -> None:
    """Print one line a test: runs, and task instances scheduled twice in a thousand."""
    groups: defaultdict[str, list[TestRecord]] = defaultdict(list)
    for test in tests:
        groups[test.name.bare].append(test)
    for name, group in sorted(groups.items()):
        print(f"{version:<7} {name:<50} {figures(group)}", flush=True)


def figures(group: Sequence[TestRecord]) -> str:
    """Say what became of the runs of one test; an unknown run is none, but is told."""
    known = [test for test in group if test.verdict != "unknown"]
    shown = Rate(sum(test.verdict == "invalid" for test in known), len(known))
    twice = sum(test.duplicate_tries for test in group)
    instances = sum(test.task_instances for test in group)
    first = [t for test in group if (t := test.time_to_first_violation) is not None]
    median = f"{figure(first, 'p50'):.2f} s" if first else "never"
    return (
        f"{shown.text()} runs, {len(group) - len(known)} unknown; "
        f"{Rate(twice, max(twice, instances)).text()} task instances twice, "
        f"{1000 * twice / max(1, instances):.1f} in 1,000; "
        f"{sum(test.duplicate_pods for test in group)} with two pods, "
        f"{sum(test.refused_starts for test in group)} starts refused; "
        f"first after {median}"
    )


def outcomes(tests: Iterable[TestRecord]) -> list[tuple[tuple[str, str, int], int, bool]]:
    """Return what can be compared with another version's runs."""
    return [
        ((test.name.bare, test.lab, test.schedulers), test.seed, test.verdict == "invalid")
        for test in tests
        if test.verdict != "unknown"
    ]


def main() -> int:
    """Measure what the arguments ask for; 2 where there is nothing to count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=CHOICES, type=present_expression)
    parser.add_argument("--count", type=int, default=1, help="runs of each test (%(default)s)")
    parser.add_argument("--seed", type=int, help="of all versions alike (default: random)")
    parser.add_argument("--read", nargs="+", type=Path, metavar="RUNS", help="count, run nothing")
    parser.add_argument("--versions", nargs="+", default=[], help="of --read (default: all)")
    parser.add_argument("version", nargs="*")
    options = parser.parse_args()
    found: defaultdict[str, list[TestRecord]] = defaultdict(list)
    try:
        for test in (
            kept(options.what, options.read or (), options.versions) if options.read else ()
        ):
            found[test.airflow].append(test)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for version in options.version:
        found[version].extend(session(options.what, version, options.count, options.seed))
    for version, tests in sorted(found.items()):
        report(version, tests)
    for one, other in pairwise(sorted(found)):
        print(compare_outcomes(outcomes(found[one]), outcomes(found[other])).text(one, other))
    return 0 if found else 2


if __name__ == "__main__":
    sys.exit(main())
