"""What an observation costs an update of a large table: with the recorder against without.

    python -m benchmarks.large [--rows 5000000] [--rate 100] [--rounds 8] [--seconds 20]

Starts a server of its own with Airflow's two tables, all columns and indexes, and so many task
instances. One session changes the state of one at a time, at a fixed rate, whatever the answer
takes: what comes late because the one before did is as late to who waits for it. Without and with
the recorder in turn, in another order each round; with it the audit is installed, and a reader in
a process of its own reads and trims it as in an observation.

A ratio is with to without, over all rounds, with its 95 % interval, for which whole rounds are
resampled (`reports.resampling.bootstrap_ratio`). CPU is the server's, of all its processes. The
disk is not waited for (fsync is off), which would hide a part of the cost.
"""

import argparse
import multiprocessing
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import NamedTuple

import psutil
import psycopg

from benchmarks.audit import server
from lab.embedded.postgres import Postgres
from recorder import audit
from recorder.database import DatabaseReader
from recorder.stream import DatabaseClock, Stream
from reports.resampling import Interval, Statistic, bootstrap_ratio, figure
from tests.recorder.tables import TABLES, Connection

_UPDATE = (
    "UPDATE task_instance SET state = %s, start_date = now(), pid = 7, updated_at = now() "
    "WHERE id = %s"
)
_STATES = ("queued", "running")
_RUNS = 1000
_TOUCHED = 50_000
_WARM = 3.0


class Period(NamedTuple):
    """What some seconds of updates were like: seconds each, and CPU seconds for one."""

    latencies: list[float]
    cpu: float


def fill(connection: Connection, rows: int) -> list[str]:
    """Make the tables, and their indexes at the end; return the ids of some task instances."""
    made = [each for each in TABLES.split(";") if each.strip()]
    later = [each for each in made if "CREATE INDEX" in each]
    for statement in made:
        if statement not in later:
            connection.execute(statement.encode())
    connection.execute(
        "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) SELECT 'dag_' || "
        "n %% 50, 'scheduled__' || n, 'running', 'scheduled', now() FROM generate_series(1, %s) n",
        (_RUNS,),
    )
    connection.execute(
        "INSERT INTO task_instance (id, task_id, dag_id, run_id, state, try_number, pool, "
        "pool_slots, operator, hostname, queue) SELECT gen_random_uuid(), 'group.task_' || t, "
        "'dag_' || n %% 50, 'scheduled__' || n, 'success', 1, 'default_pool', 1, 'BashOperator', "
        "'worker-' || t, 'default' FROM generate_series(1, %s) n, generate_series(1, %s) t",
        (_RUNS, rows // _RUNS),
    )
    for statement in later:
        connection.execute(statement.encode())
    connection.execute("VACUUM ANALYZE task_instance")
    found = connection.execute(
        "SELECT id::text FROM task_instance TABLESAMPLE SYSTEM (2) LIMIT %s", (_TOUCHED,)
    )
    return [str(row[0]) for row in found]


def _read(dsn: str, begun: Event, over: Event) -> None:
    """Read and trim the audit, as a recorder does, until it is `over`."""
    clock = DatabaseClock()
    reader = DatabaseReader(lambda: dsn, clock, Stream(clock.now), trims=True)
    reader.open()
    begun.set()
    stop = threading.Event()
    reading = threading.Thread(target=reader.run, args=(stop,))
    reading.start()
    over.wait()
    stop.set()
    reading.join()
    reader.finish(5.0)


@contextmanager
def recorded(dsn: str) -> Iterator[None]:
    """Have the audit installed and read."""
    context = multiprocessing.get_context("spawn")
    begun, over = context.Event(), context.Event()
    audit.install(dsn)
    reader = context.Process(target=_read, args=(dsn, begun, over))
    reader.start()
    try:
        begun.wait(30)
        yield
    finally:
        over.set()
        reader.join()
        audit.remove(dsn)


class Load:
    """Updates at a fixed rate, by one session."""

    def __init__(self, postgres: Postgres, ids: list[str], rate: float) -> None:
        assert postgres.process is not None
        self._server = psutil.Process(postgres.process.pid)
        self._dsn = postgres.dsn()
        self._ids = ids
        self._rate = rate
        self._dice = random.Random(1)
        self._done = 0

    def period(self, seconds: float) -> Period:
        """Update for some seconds, after some more that do not count."""
        with psycopg.connect(self._dsn, autocommit=True, application_name="scheduler-1") as session:
            self._update(session, _WARM)
            cpu = self._cpu()
            latencies = self._update(session, seconds)
            return Period(latencies, (self._cpu() - cpu) / len(latencies))

    def _update(self, session: Connection, seconds: float) -> list[float]:
        begun = time.perf_counter()
        found = []
        for number in range(int(seconds * self._rate)):
            due = begun + number / self._rate
            time.sleep(max(0.0, due - time.perf_counter()))
            state = _STATES[self._done // len(self._ids) % 2]
            values = (state, self._ids[self._done % len(self._ids)])
            session.execute(_UPDATE, values, prepare=True)
            found.append(time.perf_counter() - due)
            self._done += 1
        return found

    def _cpu(self) -> float:
        """Return the CPU seconds of the server: of who is there, and of who has ended."""
        total = 0.0
        for process in (self._server, *self._server.children()):
            times = process.cpu_times()
            total += times.user + times.system
        ended = self._server.cpu_times()
        return total + ended.children_user + ended.children_system


def rounds(postgres: Postgres, load: Load, number: int, seconds: float) -> list[list[Period]]:
    """Return the periods without the recorder, and those with it."""
    dsn = postgres.dsn()
    found: list[list[Period]] = [[], []]
    for each in range(number):
        for on in (False, True) if each % 2 else (True, False):
            if on:
                with recorded(dsn):
                    period = load.period(seconds)
            else:
                period = load.period(seconds)
            found[on].append(period)
            median, worst = (figure(period.latencies, name) * 1e3 for name in ("p50", "p99"))
            print(
                f"round {each + 1} {'with' if on else 'without':<8} median {median:.2f} ms, "
                f"p99 {worst:.2f} ms, CPU {period.cpu * 1e3:.2f} ms an update",
                flush=True,
            )
    return found


def report(found: list[list[Period]]) -> None:
    """Print each figure without and with the recorder, and the ratio."""
    statistics: tuple[tuple[str, Statistic], ...] = (("median", "p50"), ("99th percentile", "p99"))
    for name, statistic in statistics:
        samples = [[period.latencies for period in periods] for periods in found]
        _line(f"latency, {name}", samples, statistic)
    _line("CPU of the server, an update", [[[p.cpu] for p in periods] for periods in found], "mean")


def _line(name: str, samples: list[list[list[float]]], statistic: Statistic) -> None:
    off, on = (
        figure([value for each in runs for value in each], statistic) * 1e3 for runs in samples
    )
    ratio = bootstrap_ratio(samples[0], samples[1], statistic)
    print(f"{name:<30}{off:>7.2f} ms{on:>8.2f} ms   {told(ratio)}")


def told(ratio: Interval | None) -> str:
    """Say a ratio, with its interval."""
    if ratio is None:
        return "ratio not known"
    return f"ratio {ratio.estimate:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def main() -> None:
    """Parse the options, measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rate", type=float, default=100.0, help="updates a second")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with server() as postgres:
        begun = time.monotonic()
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            ids = fill(connection, options.rows)
            size = connection.execute(
                "SELECT pg_size_pretty(pg_total_relation_size('task_instance'))"
            ).fetchone()
        print(f"{options.rows} rows, {size and size[0]}, in {time.monotonic() - begun:.0f} s")
        load = Load(postgres, ids, options.rate)
        report(rounds(postgres, load, max(2, options.rounds), options.seconds))


if __name__ == "__main__":
    main()
