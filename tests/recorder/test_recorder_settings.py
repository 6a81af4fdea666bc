"""Whatever a company has set by role or by database, we live with it, or refuse before anything."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from lab.embedded.postgres import SUPERUSER, Postgres
from recorder import audit, database, lease
from tests.labs import eventually
from tests.recorder.standby import server
from tests.recorder.tables import Connect, Recording, add_task, installed, make_database
from tests.recorder.test_recorder_audit import catalogs
from tests.recorder.test_recorder_harm import AsSuperuser
from tests.recorder.test_recorder_harm import as_superuser as as_superuser

SLEEPY = """
    CREATE FUNCTION public.sleep() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.4); END $$;
    CREATE EVENT TRIGGER sleepy ON ddl_command_end WHEN TAG IN ('CREATE SCHEMA', 'DROP SCHEMA')
    EXECUTE FUNCTION public.sleep()
"""
FORBIDDING = """
    CREATE FUNCTION public.forbid() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no % without a ticket', tg_tag; END $$;
    CREATE EVENT TRIGGER forbidding ON ddl_command_start WHEN TAG IN ('{tag}')
    EXECUTE FUNCTION public.forbid()
"""
TIMEOUTS = {
    "statement_timeout": "300ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "200ms",
    "transaction_timeout": "300ms",
    "idle_session_timeout": "500ms",
}


@pytest.fixture
def set_for(postgres: Postgres, dsn: str) -> Callable[[str, str], None]:
    """Return what sets something for all sessions of the database that begin from now on."""
    name = conninfo_to_dict(dsn)["dbname"]

    def alter(what: str, value: str) -> None:
        with psycopg.connect(postgres.dsn(SUPERUSER, SUPERUSER), autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} SET {what} = '{value}'".encode())

    return alter


@pytest.mark.parametrize("setting", TIMEOUTS)
def test_a_company_s_timeouts_end_nothing_of_ours(
    dsn: str,
    connect: Connect,
    as_superuser: AsSuperuser,
    set_for: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
) -> None:
    monkeypatch.setattr(database, "AT_ONCE", 3)
    monkeypatch.setattr(database, "TRIM_EVERY", 0.0)
    as_superuser(SLEEPY)
    set_for(setting, TIMEOUTS[setting])
    audit.rehearse(dsn)
    audit.install(dsn)
    recording = Recording(dsn)
    scheduler = connect()
    for number in range(5):
        add_task(scheduler, f"t{number}")
    assert len(recording.poll()) == 5
    recording.reader.finish(5.0)
    assert recording.stream.gaps == []
    audit.remove(dsn)
    assert not installed(dsn)


def test_a_poll_that_waits_longer_than_a_company_s_statements_may_is_not_lost(
    dsn: str, connect: Connect, set_for: Callable[[str, str], None]
) -> None:
    set_for("statement_timeout", "200ms")
    audit.install(dsn)
    recording = Recording(dsn)
    add_task(connect(), "t")
    busy = connect("somebody", autocommit=False)
    busy.execute("LOCK TABLE oracle.audit IN ACCESS EXCLUSIVE MODE")
    ending = threading.Timer(0.5, busy.rollback)
    ending.start()
    assert len(recording.poll()) == 1
    ending.join()
    recording.reader.close()


def test_a_database_that_is_to_be_read_only_is_refused_and_never_hinders_the_removal(
    dsn: str,
    connect: Connect,
    set_for: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "TRIM_EVERY", 0.0)
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.0)
    airflow = connect()
    set_for("default_transaction_read_only", "on")
    before = catalogs(dsn)
    for refused in (audit.install, audit.rehearse):
        with pytest.raises(audit.AuditError, match="default_transaction_read_only"):
            refused(dsn)
    assert catalogs(dsn) == before
    set_for("default_transaction_read_only", "off")
    audit.install(dsn)
    set_for("default_transaction_read_only", "on")
    recording = Recording(dsn)
    add_task(airflow, "t")
    recording.reader._trims = True
    assert len(recording.poll()) == 1
    recording.reader.finish(5.0)
    assert recording.stream.gaps == []
    audit.remove(dsn)
    assert not installed(dsn)


@pytest.mark.parametrize("tag", ["CREATE SCHEMA", "CREATE TRIGGER", "DROP SCHEMA"])
def test_where_an_event_trigger_forbids_ddl_its_reason_is_given_and_nothing_is_left(
    dsn: str, as_superuser: AsSuperuser, tag: str
) -> None:
    as_superuser(FORBIDDING.format(tag=tag))
    before = catalogs(dsn)
    for refused in (audit.rehearse, audit.install):
        with pytest.raises(audit.AuditError, match=f"no {tag} without a ticket") as caught:
            refused(dsn)
        assert "\n" not in str(caught.value)
    assert catalogs(dsn) == before


def test_a_session_that_replays_changes_is_recorded_too(
    postgres: Postgres, dsn: str, recording: Recording
) -> None:
    there = postgres.dsn(SUPERUSER, str(conninfo_to_dict(dsn)["dbname"]))
    with psycopg.connect(there, autocommit=True) as loader:
        loader.execute("SET session_replication_role = replica")
        add_task(loader, "t")
        loader.execute("TRUNCATE task_instance")
    assert len(recording.poll()) == 2, "the change, and the note of the gap"
    assert "TRUNCATE" in recording.stream.gaps[0]


def test_triggers_that_were_off_for_a_while_are_noticed(
    postgres: Postgres, dsn: str, recording: Recording
) -> None:
    there = postgres.dsn(SUPERUSER, str(conninfo_to_dict(dsn)["dbname"]))
    with psycopg.connect(there, autocommit=True) as loader:
        loader.execute("ALTER TABLE task_instance DISABLE TRIGGER ALL")
        loader.execute("ALTER TABLE task_instance ENABLE TRIGGER ALL")
    recording.reader.finish(1.0)
    assert "switched off" in recording.stream.gaps[0]


@pytest.fixture(scope="module")
def vacuumed() -> Iterator[Postgres]:
    """Run a server that looks every second for something to vacuum."""
    with server("autovacuum_naptime = 1s", "autovacuum_vacuum_cost_delay = 20ms") as own:
        yield own


def test_autovacuum_gives_way_to_the_removal_and_airflow_waits_for_nobody(
    vacuumed: Postgres,
) -> None:
    dsn = make_database(vacuumed)
    audit.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as airflow:
        _fill(airflow, 3000)
        airflow.execute(
            "ALTER TABLE task_instance SET (autovacuum_vacuum_threshold = 1, "
            "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
        )
        airflow.execute("UPDATE task_instance SET pool_slots = 2")
        assert eventually(lambda: _vacuums(airflow), 30)
        longest, over = 0.0, threading.Event()

        def work() -> None:
            nonlocal longest
            with psycopg.connect(dsn, autocommit=True) as other:
                while not over.wait(0.01):
                    row = other.execute(
                        "WITH begun AS (SELECT clock_timestamp() AS at), done AS (UPDATE "
                        "task_instance SET pid = 1 WHERE task_id = 't1' RETURNING pid) "
                        "SELECT extract(epoch FROM clock_timestamp() - at) FROM begun, done"
                    ).fetchone()
                    longest = max(longest, float(row[0]) if row else 0.0)

        working = threading.Thread(target=work)
        working.start()
        try:
            audit.remove(dsn, timeout=10.0)
        finally:
            over.set()
            working.join()
    assert not installed(dsn)
    assert longest < 0.9


def test_a_vacuum_that_somebody_runs_is_named(vacuumed: Postgres) -> None:
    dsn = make_database(vacuumed)
    with psycopg.connect(dsn, autocommit=True) as airflow:
        _fill(airflow, 500)

    def vacuum() -> None:
        with psycopg.connect(dsn, autocommit=True, application_name="pg_cron") as somebody:
            somebody.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1")
            pids.append(somebody.info.backend_pid)
            with pytest.raises(psycopg.errors.QueryCanceled):
                somebody.execute("VACUUM task_instance")

    pids: list[int] = []
    running = threading.Thread(target=vacuum)
    running.start()
    with psycopg.connect(dsn, autocommit=True) as airflow:
        assert eventually(lambda: _vacuums(airflow))
        with pytest.raises(audit.AuditError, match=r"by pg_cron \(pid \d+, VACUUM or its like\)"):
            audit.install(dsn, timeout=1.0)
        airflow.execute("SELECT pg_cancel_backend(%s)", (pids[0],))
    running.join()


def _fill(airflow: "psycopg.Connection[tuple[object, ...]]", rows: int) -> None:
    airflow.execute(
        "INSERT INTO task_instance (id, task_id, dag_id, run_id, state, try_number, pool, "
        "pool_slots) SELECT gen_random_uuid(), 't' || n, 'd', 'r', 'queued', 0, 'p', 1 "
        "FROM generate_series(1, %s) AS n",
        (rows,),
    )


def _vacuums(airflow: "psycopg.Connection[tuple[object, ...]]") -> bool:
    found = airflow.execute(
        "SELECT count(*) FROM pg_locks WHERE relation = 'task_instance'::regclass "
        "AND mode = 'ShareUpdateExclusiveLock' AND granted"
    ).fetchone()
    return found != (0,)


def test_who_removes_waits_for_who_still_installs(dsn: str, connect: Connect) -> None:
    """Whoever is killed while it commits may have its session's commit come after."""
    installing = connect("ha-chaos-recorder", autocommit=False)
    audit._lock_audit(installing)
    with pytest.raises(audit.AuditError, match="stayed locked"):
        audit.remove(dsn, timeout=0.5)
    installing.rollback()
    audit.remove(dsn)
