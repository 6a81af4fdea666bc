"""What the database proxy costs: round trips a second through it against without it.

    python -m benchmarks.dbproxy

Both sides run the same loop, in turns, so that what else the machine does weighs on both alike.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
import uuid

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from common.paths import cache_dir
from lab.embedded.postgres import Postgres

STATEMENTS = {
    "SELECT 1": "SELECT 1",
    "10 kB of rows": "SELECT repeat('x', 100) FROM generate_series(1, 100)",
}


def rate(connection: psycopg.Connection, statement: str, count: int) -> float:
    """Return round trips a second."""
    begun = time.perf_counter()
    for _ in range(count):
        connection.execute(statement)
    return count / (time.perf_counter() - begun)


def compare(dsn: str, port: int, proxy: psutil.Process, rounds: int, count: int) -> None:
    """Print the medians of both ways, their ratio, and the proxy's CPU time a round trip."""
    direct = psycopg.connect(dsn, autocommit=True)
    through = psycopg.connect(make_conninfo(dsn, port=port), autocommit=True)
    for name, statement in STATEMENTS.items():
        rates: list[tuple[float, float]] = []
        used = sum(proxy.cpu_times()[:2])
        for _ in range(rounds):
            rates.append((rate(direct, statement, count), rate(through, statement, count)))
        used = sum(proxy.cpu_times()[:2]) - used
        ratio = statistics.median(b / a for a, b in rates)
        alone, behind = (statistics.median(side) for side in zip(*rates, strict=True))
        print(
            f"{name}: {alone:,.0f} round trips/s direct, {behind:,.0f} through the proxy"
            f" (ratio {ratio:.2f}), {used / rounds / count * 1e6:.0f} us of its CPU each"
        )


def main() -> None:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser("python -m benchmarks.dbproxy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=1000, help="round trips a round")
    options = parser.parse_args()
    directory = cache_dir() / "tests" / uuid.uuid4().hex
    server = Postgres(directory)
    try:
        server.initialise()
        server.start()
        argv = [sys.executable, "-m", "lab.dbproxy", "--upstream", f"127.0.0.1:{server.port}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(json.loads(process.stdout.readline())["listen"].rsplit(":", 1)[1])
                compare(
                    server.dsn(), port, psutil.Process(process.pid), options.rounds, options.count
                )
            finally:
                process.terminate()
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
