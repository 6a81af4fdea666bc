"""How long whole sessions take, against another checkout of this project, in turns.

    git worktree add ../before d7083eb && ln -s "$PWD/.venv" ../before/.venv
    python -m benchmarks.sessions suite --airflow 3.3.2 --against ../before
    python -m benchmarks.sessions reproduce --airflow 3.0.6 --against ../before

suite is `pytest suites/ -n 8`, reproduce is `make reproduce`, both warm: environments and migrated
databases are there. The other checkout has a cache of its own, for labs of two versions of this
project do not know one another. Printed are the seconds by the clock, the CPU seconds of all
processes, and how many tests had which verdict. Other work on the machine spoils the comparison.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.paths import PROJECT, cache_dir
from common.spawn import adopt_orphans


def commands(what: str, airflow: str) -> list[str]:
    """Return the command of a session, as a user types it."""
    if what == "reproduce":
        return ["make", "reproduce", f"AIRFLOW={airflow}"]
    return [sys.executable, "-m", "pytest", "suites/", "-n", "8", "-q", "--airflow", airflow]


def timed(
    command: Sequence[str], checkout: Path, env: dict[str, str]
) -> tuple[float, float, "subprocess.CompletedProcess[str]"]:
    """Run a command; return seconds, CPU seconds of all that it started, and how it ended."""
    adopt_orphans()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(
        command, cwd=checkout, env=env, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begun
    while True:  # what outlived the command came here, and so do its CPU seconds
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used, done


def verdicts(checkout: Path, since: float) -> Iterator[str]:
    """Yield the verdicts of the tests that were judged since a time."""
    for path in (checkout / "reports" / "runs").glob("*/tests/*/verdict.json"):
        if path.stat().st_mtime >= since:
            yield str(json.loads(path.read_text())["verdict"])


def main() -> None:
    """Run the sessions in turns and print each, and the medians' ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["suite", "reproduce"])
    parser.add_argument("--airflow", required=True, metavar="VERSION")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    own = dict(os.environ)
    sides = {"here": (PROJECT, own)}
    if options.against:
        other = {**own, "HA_CHAOS_CACHE": str(cache_dir() / "against")}
        sides["against"] = (options.against.resolve(), other)
    for checkout, env in sides.values():
        prepare = [sys.executable, "-m", "lab.environments", "prepare", options.airflow]
        subprocess.run(prepare, cwd=checkout, env=env, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, (checkout, env) in sides.items():
            since = time.time()
            seconds, cpu, done = timed(commands(options.what, options.airflow), checkout, env)
            found[side].append(seconds)
            counted = dict(Counter(verdicts(checkout, since)))
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            print(f"{side:8} {seconds:.0f} s, {cpu:.0f} s of CPU, {counted}; {last}", flush=True)
    if options.against:
        ratio = statistics.median(found["here"]) / statistics.median(found["against"])
        print(f"{ratio:.2f} x")


if __name__ == "__main__":
    main()
