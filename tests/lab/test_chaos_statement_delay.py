"""A delay inside a statement bites its process only, heals, and outlives nobody."""

import subprocess
import sys
import time

import pytest

from chaos.holds.installer import install
from chaos.statement_delay import StatementDelay
from common.errors import UserError
from lab.embedded.postgres import SUPERUSER, Postgres
from tests.lab.miniature import QUEUED, RUNNING, Process, lab

pytest_plugins = ["tests.lab.miniature_fixtures"]

FOREVER = 600.0
CONTROLLER = """
import sys, time
from chaos.statement_delay import StatementDelay
from tests.lab.miniature import lab
fault = StatementDelay("scheduler-2", 600).on(lab(sys.argv[1]))
fault.begin()
print("begun", flush=True)
time.sleep(600)
"""


def seconds(process: Process, statement: str) -> float:
    begun = time.monotonic()
    process.run(statement)
    return time.monotonic() - begun


def test_delays_the_statement_and_heals(dsn: str, scheduler_2: Process) -> None:
    with StatementDelay("scheduler-2", 0.3).on(lab(dsn)):
        assert seconds(scheduler_2, RUNNING["3.0.6"]) >= 0.3
        assert seconds(scheduler_2, RUNNING["3.3.2"]) >= 0.3
    scheduler_2.begin(RUNNING["3.0.6"])
    assert scheduler_2.ended(40)


def test_is_after_the_snapshot_and_before_the_row_locks(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    with StatementDelay("scheduler-2", FOREVER).on(lab(dsn)) as fault:
        scheduler_2.begin(RUNNING["3.0.6"])
        assert not scheduler_2.ended(0.3)
        scheduler_1.run("SELECT FROM dag_run FOR UPDATE NOWAIT")
        scheduler_1.run("UPDATE task_instance SET state = 'scheduled'")
        fault.end()
        assert scheduler_2.ended(40)
    assert [row["state_1"] for row in scheduler_2.rows] == [None]


def test_bites_neither_other_processes_nor_other_statements(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    with StatementDelay("scheduler-2", FOREVER).on(lab(dsn)):
        scheduler_1.begin(RUNNING["3.0.6"])
        assert scheduler_1.ended(40)
        scheduler_2.begin(QUEUED["3.0.6"])
        assert scheduler_2.ended(40)


def test_a_star_delays_every_process(dsn: str, scheduler_1: Process, scheduler_2: Process) -> None:
    with StatementDelay("*", FOREVER).on(lab(dsn)):
        for process in (scheduler_1, scheduler_2):
            process.begin(RUNNING["3.0.6"])
        assert not scheduler_1.ended(0.3)
        assert not scheduler_2.ended(0.3)
    assert scheduler_1.ended(40)
    assert scheduler_2.ended(40)


def test_a_killed_controller_ends_the_delay_also_of_who_is_in_it(
    dsn: str, scheduler_2: Process
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, dsn], stdout=subprocess.PIPE, text=True
    ) as controller:
        try:
            assert controller.stdout is not None
            assert controller.stdout.readline() == "begun\n"
            scheduler_2.begin(RUNNING["3.0.6"])
            assert not scheduler_2.ended(0.3)
        finally:
            controller.kill()
    assert scheduler_2.ended(40)


def draws(dsn: str, seed: int) -> list[float]:
    observer = Process(dsn, "observer")
    with StatementDelay("scheduler-2", 0.3, jitter=0.2, seed=seed).on(lab(dsn)):
        rows = observer.run(
            "SELECT chaos.seconds(rule) AS s FROM chaos.rule, generate_series(1, 50)"
        )
    return [row["s"] for row in rows]


def test_jitter_follows_its_seed_within_its_bounds(dsn: str) -> None:
    install(dsn)
    first = draws(dsn, seed=7)
    assert draws(dsn, seed=7) == first
    assert draws(dsn, seed=8) != first
    assert 0.1 <= min(first) < 0.2
    assert 0.4 < max(first) <= 0.5


def test_records_its_beginning_and_its_end_once(dsn: str) -> None:
    told: list[tuple[str, ...]] = []
    fault = StatementDelay("scheduler-2", 0.3, jitter=0.1, seed=5).on(
        lab(dsn), lambda *event: told.append(event)
    )
    for _ in range(2):
        fault.begin()
    for _ in range(2):
        fault.end()
    assert told == [
        (
            "begin",
            "statement-delay",
            "scheduler-2",
            "0.3 s ± 0.1 s (seed 5) inside each matching statement",
        ),
        ("end", "statement-delay", "scheduler-2", ""),
    ]


def test_a_delay_that_lost_its_connection_says_so(dsn: str, scheduler_1: Process) -> None:
    told: list[tuple[str, ...]] = []
    fault = StatementDelay("scheduler-2", 0.3).on(lab(dsn), lambda *event: told.append(event))
    fault.begin()
    scheduler_1.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chaos'"
    )
    fault.end()
    assert "its connection to the database was lost" in told[-1][3]


def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(UserError, match=r"The delay must be 0 s or more\."):
        StatementDelay("scheduler-2", -1)
    with pytest.raises(UserError, match=r"The jitter must be 0 s or more\."):
        StatementDelay("scheduler-2", 1, jitter=-1)


def test_a_delay_that_cannot_begin_is_healed(postgres: Postgres, database: str) -> None:
    told: list[tuple[str, ...]] = []
    fault = StatementDelay("scheduler-2", 1).on(
        lab(postgres.dsn(SUPERUSER, database)), lambda *event: told.append(event)
    )
    with pytest.raises(UserError, match="exempt"):
        fault.begin()
    assert [event[0] for event in told] == ["begin", "end"]
