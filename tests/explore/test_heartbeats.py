"""A heartbeat that a schedule made late is told from one that is, on a real PostgreSQL."""

import psycopg
import pytest

from chaos.holds.installer import install, remove
from explore.heartbeats import Heartbeats
from lab.database import connect, value
from tests.lab.miniature import Process

pytest_plugins = ["tests.lab.miniature_fixtures"]

JOB = """
CREATE TABLE job (
    id serial PRIMARY KEY, job_type text DEFAULT 'SchedulerJob', state text DEFAULT 'running',
    latest_heartbeat timestamptz DEFAULT now()
)
"""
BEAT = "UPDATE job SET latest_heartbeat = now() WHERE id = {}"
LONGEST = 300.0


@pytest.fixture
def connection(dsn: str) -> psycopg.Connection:
    with connect(dsn) as made:
        made.execute(JOB)
        made.execute("INSERT INTO job DEFAULT VALUES")
        made.execute("INSERT INTO job DEFAULT VALUES")
    install(dsn)
    return connect(dsn)


@pytest.fixture
def heartbeats(
    connection: psycopg.Connection, scheduler_1: Process, scheduler_2: Process
) -> Heartbeats:
    made = Heartbeats()
    made.watch(connection)
    assert not made.learn(["scheduler-1", "scheduler-2"])
    scheduler_1.run(BEAT.format(1))
    scheduler_2.run(BEAT.format(2))
    assert made.learn(["scheduler-1", "scheduler-2"])
    return made


def test_each_process_has_its_newest_row(heartbeats: Heartbeats, scheduler_1: Process) -> None:
    assert (heartbeats.job("scheduler-1"), heartbeats.job("scheduler-2")) == (1, 2)
    scheduler_1.run("INSERT INTO job DEFAULT VALUES")
    assert (heartbeats.job("scheduler-1"), heartbeats.job("scheduler-2")) == (3, 2)


def test_who_is_made_late_is_late_to_its_peers_alone(
    heartbeats: Heartbeats, connection: psycopg.Connection
) -> None:
    assert heartbeats.set_back("scheduler-2")
    late = "SELECT count(*) FROM job WHERE latest_heartbeat < now() - interval '10 minutes'"
    assert value(connection, late) == 1
    assert heartbeats.silent(LONGEST) < LONGEST


def test_who_is_made_late_and_goes_on_is_late_no_longer(
    heartbeats: Heartbeats, connection: psycopg.Connection
) -> None:
    late = "SELECT count(*) FROM job WHERE latest_heartbeat < now() - interval '10 minutes'"
    heartbeats.set_back("scheduler-2")
    heartbeats.renew("scheduler-1")
    assert value(connection, late) == 1
    heartbeats.renew("scheduler-2")
    assert value(connection, late) == 0
    connection.execute("UPDATE job SET latest_heartbeat = now() - interval '400 s' WHERE id = 1")
    heartbeats.renew("scheduler-1")
    assert value(connection, late) == 0
    assert heartbeats.silent(LONGEST) == pytest.approx(400, abs=5), "no schedule made it late"


def test_who_is_late_by_itself_is_told(
    heartbeats: Heartbeats, connection: psycopg.Connection
) -> None:
    heartbeats.set_back("scheduler-2")
    connection.execute("UPDATE job SET latest_heartbeat = now() - interval '400 s' WHERE id = 1")
    assert heartbeats.silent(LONGEST) == pytest.approx(400, abs=5)


def test_who_was_late_and_was_heard_again_is_as_others(
    heartbeats: Heartbeats, connection: psycopg.Connection, scheduler_2: Process
) -> None:
    heartbeats.set_back("scheduler-2")
    scheduler_2.run(BEAT.format(2))
    assert heartbeats.silent(LONGEST) < LONGEST
    connection.execute("UPDATE job SET latest_heartbeat = now() - interval '400 s' WHERE id = 2")
    assert heartbeats.silent(LONGEST) == pytest.approx(400, abs=5)


def test_nobody_waits_for_who_is_frozen_in_its_heartbeat(
    heartbeats: Heartbeats, scheduler_2: Process
) -> None:
    scheduler_2.run("BEGIN")
    scheduler_2.run(BEAT.format(2))
    assert not heartbeats.set_back("scheduler-2")
    assert not heartbeats.set_back("triggerer-1"), "nobody has heard it"


def test_what_was_heard_once_is_known_though_the_schema_is_dropped(
    heartbeats: Heartbeats, connection: psycopg.Connection, dsn: str
) -> None:
    remove(dsn)
    trigger = "SELECT count(*) FROM pg_trigger WHERE tgname = 'chaos_heard'"
    assert value(connection, trigger) == 0
    install(dsn)
    heartbeats.watch(connection)
    assert heartbeats.learn(["scheduler-1", "scheduler-2"])
