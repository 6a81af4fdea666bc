"""How long whole sessions take, against another checkout of this project, in turns.

    git worktree add ../before d7083eb && ln -s "$PWD/.venv" ../before/.venv
    python -m benchmarks.sessions suite --airflow 3.3.2 --against ../before
    python -m benchmarks.sessions reproduce --airflow 3.0.6 --against ../before
    python -m benchmarks.sessions reproduce --airflow 3.0.6 --against ../before --empty
    python -m benchmarks.sessions ci --against ../before [--common]

suite is `pytest suites/ -n 8`, reproduce is `make reproduce`, both warm: environments and migrated
databases are there. With --empty each is a fresh clone with an empty cache; ci is `.ci/run` in a
fresh clone, with the cache as it is. The other checkout has a cache of its own, for labs of two
versions of this project do not know one another. With --common only those tests are run here that
the other has too, by their names. Printed are the seconds by the clock, the CPU seconds of all
processes, how many tests had which verdict, and which failed. Other work on the machine spoils the
comparison.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.paths import PROJECT, cache_dir
from common.spawn import adopt_orphans

Side = tuple[Path, dict[str, str]]
"""A checkout, and the environment of what runs in it."""


def commands(what: str, airflow: str, tests: Path | None = None) -> list[str]:
    """Return the command of a session, as a user types it; of `tests` alone where they are given.

    `tests` is a file of pytest's node ids, a line each.
    """
    if what == "ci":
        some = [f"TESTS=@{tests}"] if tests else []
        return ["env", "CI=true", *some, "bash", ".ci/run"]
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


def collected(checkout: Path) -> list[str]:
    """Return the node ids of a checkout's tests."""
    collecting = [sys.executable, "-m", "pytest", "tests", "--collect-only", "-q"]
    done = subprocess.run(collecting, cwd=checkout, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def in_common(checkout: Path, other: Path, file: Path) -> str:
    """Write the ids of the tests whose names another checkout has too; say how many they are.

    A test that was renamed meanwhile is left out, one that was moved is not.
    """
    theirs = Counter(each.partition("::")[2] for each in collected(other))
    mine = [each for each in collected(checkout) if each.partition("::")[2] in theirs]
    file.write_text("".join(f"{each}\n" for each in mine))
    return f"{len(mine)} of the {theirs.total()} tests there are here too"


@contextmanager
def side(checkout: Path, cache: Path, *, fresh: bool, empty: bool) -> Iterator[Side]:
    """Lend a checkout, or a fresh clone of it, and the environment with its cache, or an empty one.

    Clone and empty cache go when the session has ended.
    """
    env = {**os.environ, "HA_CHAOS_CACHE": str(cache)}
    if not (fresh or empty):
        yield checkout, env
        return
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        Path(name).chmod(0o755)  # PostgreSQL runs as another user, where root runs this
        subprocess.run(["git", "clone", "--quiet", checkout, clone], check=True)
        if empty:
            env["HA_CHAOS_CACHE"] = str(Path(name) / "cache")
        yield clone, env


def session(command: list[str], checkout: Path, env: dict[str, str]) -> tuple[float, str]:
    """Run one session; return its seconds, and a line about it."""
    since = time.time()
    seconds, cpu, done = timed(command, checkout, env)
    counted = dict(Counter(verdicts(checkout, since)))
    lines = (done.stdout + done.stderr).strip().splitlines()
    last = next((line for line in reversed(lines) if " in " in line and "s" in line), "")
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    told = f"{seconds:.0f} s, {cpu:.0f} s of CPU, exit {done.returncode}, {counted}; {last}"
    return seconds, "\n".join([told, *failed])


def main() -> None:
    """Run the sessions in turns and print each, and the medians' ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["suite", "reproduce", "ci"])
    parser.add_argument("--airflow", default="", metavar="VERSION", help="for all but ci")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--empty", action="store_true", help="fresh clones, with empty caches")
    parser.add_argument("--common", action="store_true", help="tests that both have (ci)")
    options = parser.parse_args()
    fresh = options.what == "ci"
    if not (fresh or options.airflow):
        parser.error("--airflow says which Airflow")
    if options.common and not (fresh and options.against):
        parser.error("--common is for ci, and --against says with which checkout")
    sides = {"here": (PROJECT, cache_dir())}
    if options.against:
        sides["against"] = (options.against.resolve(), cache_dir() / "against")
    if not (fresh or options.empty):
        for checkout, cache in sides.values():
            prepare = [sys.executable, "-m", "lab.environments", "prepare", options.airflow]
            env = {**os.environ, "HA_CHAOS_CACHE": str(cache)}
            subprocess.run(prepare, cwd=checkout, env=env, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        some = {}
        if options.common:
            some["here"] = Path(folder) / "tests.txt"
            print(in_common(PROJECT, sides["against"][0], some["here"]), flush=True)
        for name, (checkout, cache) in list(sides.items()) * options.rounds:
            command = commands(options.what, options.airflow, some.get(name))
            with side(checkout, cache, fresh=fresh, empty=options.empty) as (where, env):
                seconds, line = session(command, where, env)
            found[name].append(seconds)
            print(f"{name:8} {line}", flush=True)
    if options.against:
        ratio = statistics.median(found["here"]) / statistics.median(found["against"])
        print(f"{ratio:.2f} x")


if __name__ == "__main__":
    main()
