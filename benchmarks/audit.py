"""What we put into PostgreSQL costs it so much, statement by statement: on against off, in one run.

    python -m benchmarks.audit [--rounds N]
    python -m benchmarks.audit --of scans
    python -m benchmarks.audit --of commits

The recorder's audit, or what holds need on `task_instance`, inside its statements or at commits,
while nobody is held. `--of floor` is the least that holds inside statements can cost: the same
row-level security with a sub-select that does nothing. Where PostgreSQL plans each statement anew
(psycopg2, `--plan custom`), most of it is the planning of that sub-select.

Starts a server of its own with Airflow's two tables. Each round does the same statements without
and with the audit, one after the other, so that a busy machine slows both; a ratio is of one
round, and the median, lowest and highest of all rounds are printed. Time is the CPU time of the
server's backend (Linux), which neighbours disturb least, and the wall-clock time beside it.
A machine that is shared needs 60 rounds for a difference of some microseconds.

A ratio of statements is the worst case: in a flood, Airflow's own work around them hides it.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from chaos.holds import installer as holds
from lab.embedded.postgres import Postgres
from recorder import audit
from tests.recorder.tables import TABLES, Connection

ROWS = 480
BULK = 16
STATEMENTS = {
    "bulk: a scheduler queues 16 task instances": (
        60,
        BULK,
        "UPDATE task_instance SET state = %s, queued_dttm = now(), queued_by_job_id = 7, "
        "updated_at = now() WHERE id = ANY(%s)",
    ),
    "single: a worker's state, 1 task instance": (
        600,
        1,
        "UPDATE task_instance SET state = %s, start_date = now(), pid = 7, updated_at = now() "
        "WHERE id = ANY(%s)",
    ),
    "heartbeat: no essential changes": (
        600,
        1,
        "UPDATE task_instance SET unixname = %s, last_heartbeat_at = now(), updated_at = now() "
        "WHERE id = ANY(%s)",
    ),
}
PLANS = {"auto": "auto", "custom": "force_custom_plan", "generic": "force_generic_plan"}
"""When a prepared statement is planned: as PostgreSQL likes, each time, or once."""
Cost = tuple[float, float]


_FLOOR = """
CREATE POLICY floor_all ON task_instance USING (true) WITH CHECK (true);
CREATE POLICY floor ON task_instance AS RESTRICTIVE FOR SELECT USING ((SELECT true) IS NOT NULL);
ALTER TABLE task_instance ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
"""
_NO_FLOOR = """
DROP POLICY IF EXISTS floor ON task_instance;
DROP POLICY IF EXISTS floor_all ON task_instance;
ALTER TABLE task_instance NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
"""


def _watch(dsn: str, *, commits: bool) -> None:
    """Have holds possible at the statements below, or at their commits.

    Airflow's tables are known by their neighbour `dag`, which is not measured.
    """
    _run(dsn, "CREATE TABLE IF NOT EXISTS dag (dag_id text)")
    holds.install(dsn, "task_instance", commits=commits)


def _run(dsn: str, script: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(script.encode())


MACHINERY: dict[str, tuple[Callable[[str], None], Callable[[str], None]]] = {
    "audit": (audit.install, audit.remove),
    "scans": (partial(_watch, commits=False), holds.remove),
    "commits": (partial(_watch, commits=True), holds.remove),
    "floor": (partial(_run, script=_FLOOR), partial(_run, script=_NO_FLOOR)),
}
"""What is measured: how it is put in, and taken out."""


@contextmanager
def server() -> Iterator[Postgres]:
    """Run a PostgreSQL in a folder of its own."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-benchmark-"))
    directory.chmod(0o755)
    postgres = Postgres(directory)
    try:
        postgres.initialise()
        postgres.start()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(directory)


def fill(connection: Connection) -> list[str]:
    """Make the tables and their rows; return the ids of the task instances."""
    connection.execute(TABLES.encode())
    connection.execute(
        "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
        "SELECT 'd', 'manual__' || n, 'running', 'manual', now() FROM generate_series(1, 10) n"
    )
    found = connection.execute(
        "INSERT INTO task_instance "
        "(id, task_id, dag_id, run_id, state, try_number, pool, pool_slots) "
        "SELECT gen_random_uuid(), 'group.task_' || t, 'd', 'manual__' || n, 'scheduled', 1, "
        "'default_pool', 1 FROM generate_series(1, 10) n, generate_series(1, %s) t "
        "RETURNING id::text",
        (ROWS // 10,),
    )
    return [row[0] for row in found]


def measure(connection: Connection, ids: list[str], name: str) -> Cost:
    """Do one kind of statement; return CPU and wall-clock seconds for each."""
    count, size, statement = STATEMENTS[name]
    batches = [ids[start : start + size] for start in range(0, len(ids), size)]
    connection.execute("VACUUM task_instance")
    cpu, wall = _cpu(connection), time.perf_counter()
    for number in range(count):
        value = "ab"[number // len(batches) % 2]
        connection.execute(statement, (value, batches[number % len(batches)]), prepare=True)
    return (_cpu(connection) - cpu) / count, (time.perf_counter() - wall) / count


def _cpu(connection: Connection) -> float:
    """Return the CPU seconds of the connection's backend (first field of schedstat, in ns)."""
    schedstat = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    return int(schedstat.read_text().split()[0]) / 1e9


def rounds(
    postgres: Postgres, number: int, what: str, plan: str
) -> dict[str, list[tuple[Cost, Cost]]]:
    """Return, for each statement, the costs without and with it of each round."""
    install, remove = MACHINERY[what]
    costs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in STATEMENTS}
    dsn = postgres.dsn()
    with psycopg.connect(dsn, autocommit=True, application_name="scheduler-1") as connection:
        ids = fill(connection)
        connection.execute(f"SET plan_cache_mode = {plan}".encode())
        for _ in range(number):
            remove(dsn)
            off = {name: measure(connection, ids, name) for name in STATEMENTS}
            install(dsn)
            on = {name: measure(connection, ids, name) for name in STATEMENTS}
            for name in STATEMENTS:
                costs[name].append((off[name], on[name]))
    return costs


def report(costs: dict[str, list[tuple[Cost, Cost]]]) -> None:
    """Print a line a statement: what it costs, how much more, and the ratio on to off."""
    print(f"{'statement':<45}{'off':>9}{'on':>9}{'more':>9}   ratio of CPU time      wall")
    for name, pairs in costs.items():
        off = statistics.median(pair[0][0] for pair in pairs) * 1e6
        on = statistics.median(pair[1][0] for pair in pairs) * 1e6
        more = statistics.median(pair[1][0] - pair[0][0] for pair in pairs) * 1e6
        cpu = [pair[1][0] / pair[0][0] for pair in pairs]
        wall = statistics.median(pair[1][1] / pair[0][1] for pair in pairs)
        spread = f"{statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f})"
        print(f"{name:<45}{off:>6.0f} us{on:>6.0f} us{more:>6.0f} us   {spread:<20}{wall:>7.2f}")


def main() -> None:
    """Parse the options, measure and report."""
    parser = argparse.ArgumentParser(description="What it costs, on against off.")
    parser.add_argument("--of", choices=MACHINERY, default="audit", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="on and off, each (%(default)s)")
    parser.add_argument("--plan", choices=PLANS, default="auto", help="(%(default)s)")
    options = parser.parse_args()
    with server() as postgres:
        report(rounds(postgres, max(1, options.rounds), options.of, PLANS[options.plan]))


if __name__ == "__main__":
    main()
