"""A process is held inside its statement: after the snapshot, before the row locks."""

import subprocess
import sys

import psycopg
import pytest

from chaos.holds.hold import Hold, HoldError
from chaos.holds.installer import remove
from chaos.holds.points import Point
from tests.lab.miniature import QUEUED, RUNNING, Process
from tests.lab.proxied import eventually

pytest_plugins = ["tests.lab.miniature_fixtures"]

PLANS = ("hashjoin", "mergejoin", "nestloop")
CONTROLLER = """
import sys, time
from chaos.holds.hold import Hold
hold = Hold(sys.argv[1], "scheduler-2")
hold.hold()
print("holds", flush=True)
time.sleep(600)
"""


def now(process: Process) -> float:
    row = process.run("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")[0]
    return float(row["now"])


@pytest.mark.parametrize("plan", PLANS)
def test_snapshot_is_taken_before_the_hold_and_row_locks_after_it(
    dsn: str, scheduler_1: Process, scheduler_2: Process, plan: str
) -> None:
    for method in PLANS:
        scheduler_2.run(f"SET enable_{method} = {'on' if method == plan else 'off'}")
    with Hold(dsn, "scheduler-2") as hold:
        scheduler_2.begin(RUNNING["3.0.6"])
        hold.wait_held(timeout=40)
        scheduler_1.run("SELECT FROM dag_run FOR UPDATE NOWAIT")
        scheduler_1.run("BEGIN")
        scheduler_1.run("UPDATE task_instance SET state = 'scheduled', try_number = 1")
        scheduler_1.run("UPDATE dag_run SET last_scheduling_decision = '2026-01-01'")
        scheduler_1.run("COMMIT")
        hold.release()
        assert scheduler_2.ended(40)
    (row,) = scheduler_2.rows
    assert row["last_scheduling_decision"].year == 2026, "the locked row is the newest"
    assert (row["state_1"], row["try_number"]) == (None, 0), "the joined row is the snapshot's"


@pytest.mark.parametrize("version", RUNNING)
def test_holds_the_statement_of_every_version(dsn: str, scheduler_2: Process, version: str) -> None:
    with Hold(dsn, "scheduler-2") as hold:
        scheduler_2.begin(RUNNING[version])
        held = hold.wait_held(timeout=40)
        assert held.process == "scheduler-2"
        assert held.pid == scheduler_2.connection.info.backend_pid
        assert held.query.startswith("SELECT")
    assert scheduler_2.ended(40)


def test_a_scan_that_finds_no_row_of_dag_is_not_held(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    scheduler_2.run("SET enable_seqscan = off")
    asked = "SELECT * FROM dag WHERE dag_id = '{}'"
    found = scheduler_2.run("SELECT dag_id FROM dag LIMIT 1")[0]["dag_id"]
    with Hold(dsn, "scheduler-2", Point("dag", "%FROM dag WHERE%")) as hold:
        scheduler_2.begin(asked.format("there is none of this name"))
        assert scheduler_2.ended(40)
        scheduler_2.begin(asked.format(found))
        hold.wait_held(timeout=40)
        with pytest.raises(HoldError, match="was not held within") as told:
            hold.wait_held(newer_than=now(scheduler_1) + 60, timeout=0.2)
        assert "finds no row of dag is not held" in str(told.value)
    assert scheduler_2.ended(40)


@pytest.mark.parametrize(
    "statement",
    [*QUEUED.values(), "SELECT * FROM dag", "UPDATE dag SET is_paused = false WHERE dag_id <> ''"],
    ids=[*(f"queued-{version}" for version in QUEUED), "select", "update"],
)
def test_lets_other_statements_of_the_process_pass(
    dsn: str, scheduler_2: Process, statement: str
) -> None:
    with Hold(dsn, "scheduler-2"):
        scheduler_2.begin(statement)
        assert scheduler_2.ended(40)


def test_lets_other_processes_pass(dsn: str, scheduler_1: Process) -> None:
    with Hold(dsn, "scheduler-2"):
        scheduler_1.begin(RUNNING["3.0.6"])
        assert scheduler_1.ended(40)
    assert len(scheduler_1.rows) == 1


def test_a_glob_holds_all_that_it_names(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    with Hold(dsn, "scheduler-*") as hold:
        for process in (scheduler_1, scheduler_2):
            process.begin(RUNNING["3.3.2"])
            hold.wait_held(timeout=40)
        assert eventually(lambda: len(hold.held()) == 2, 10)
        assert [held.process for held in hold.held()] == ["scheduler-1", "scheduler-2"]
    assert scheduler_1.ended(40)
    assert scheduler_2.ended(40)


def test_a_statement_prepared_before_the_machinery_was_installed_is_held(
    dsn: str, scheduler_2: Process
) -> None:
    scheduler_2.run(f"PREPARE examine AS {RUNNING['3.0.6']}")
    for _ in range(7):
        scheduler_2.run("EXECUTE examine")
    with Hold(dsn, "scheduler-2", Point("dag", "EXECUTE examine")) as hold:
        scheduler_2.begin("EXECUTE examine")
        hold.wait_held(timeout=40)
    assert scheduler_2.ended(40)


def test_lets_an_older_statement_past_and_holds_the_next(dsn: str, scheduler_2: Process) -> None:
    observer = Process(dsn, "observer")
    with Hold(dsn, "scheduler-2") as hold:
        scheduler_2.begin(RUNNING["3.0.6"])
        older = hold.wait_held(timeout=40)
        moment = now(observer)
        with pytest.raises(HoldError, match=r"was not held within 0\.3 s"):
            hold.wait_held(newer_than=moment, timeout=0.3)
        assert scheduler_2.ended(40)
        scheduler_2.begin(RUNNING["3.0.6"])
        newer = hold.wait_held(newer_than=moment, timeout=40)
        assert older.since < moment < newer.since
        assert not scheduler_2.ended(0.2)
    assert scheduler_2.ended(40)


def test_tells_why_nobody_came(dsn: str, scheduler_2: Process) -> None:
    with Hold(dsn, "scheduler-2") as hold:
        scheduler_2.run("SELECT 1")
        with pytest.raises(HoldError, match=r"within 0.1 s: scheduler-2 is idle for \d"):
            hold.wait_held(timeout=0.1)
    with (
        Hold(dsn, "scheduler-9") as hold,
        pytest.raises(HoldError, match="no connection has that application_name"),
    ):
        hold.wait_held(timeout=0.1)


def test_a_killed_controller_releases_everybody(dsn: str, scheduler_2: Process) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, dsn], stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        try:
            assert controller.stdout.readline() == "holds\n"
            scheduler_2.begin(RUNNING["3.0.6"])
            assert not scheduler_2.ended(0.3)
        finally:
            controller.kill()
    assert scheduler_2.ended(40)
    scheduler_2.begin(RUNNING["3.0.6"])
    assert scheduler_2.ended(40), "what the dead controller left behind holds nobody"


def test_a_hold_that_lost_its_connection_is_over_and_says_so(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    told: list[tuple[str, ...]] = []
    hold = Hold(dsn, "scheduler-2", record=lambda *event: told.append(event))
    hold.hold()
    scheduler_2.begin(RUNNING["3.0.6"])
    hold.wait_held(timeout=40)
    scheduler_1.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chaos'"
    )
    assert scheduler_2.ended(40)
    with pytest.raises(HoldError, match="is held no longer"):
        hold.held()
    hold.release()
    assert told[-1][0] == "release"
    assert "its connection to the database was lost" in told[-1][3]


def test_records_that_it_holds_whom_and_that_it_releases(dsn: str, scheduler_2: Process) -> None:
    told: list[tuple[str, ...]] = []
    hold = Hold(dsn, "scheduler-2", record=lambda *event: told.append(event))
    for _ in range(2):
        hold.hold()
    scheduler_2.begin(RUNNING["3.0.6"])
    hold.wait_held(timeout=40)
    for _ in range(2):
        hold.release()
    assert [event[:3] for event in told] == [
        ("hold", "running-dag-runs", "scheduler-2"),
        ("held", "running-dag-runs", "scheduler-2"),
        ("release", "running-dag-runs", "scheduler-2"),
    ]


def test_who_holds_nobody_is_not_asked_whom(dsn: str) -> None:
    with pytest.raises(HoldError, match="Nothing holds scheduler-2 now"):
        Hold(dsn, "scheduler-2").held()


def test_releases_when_the_scenario_fails(dsn: str, scheduler_2: Process) -> None:
    def fail() -> None:
        with Hold(dsn, "scheduler-2") as hold:
            scheduler_2.begin(RUNNING["3.0.6"])
            hold.wait_held(timeout=40)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert scheduler_2.ended(40)


def test_removal_releases_first(dsn: str, scheduler_2: Process) -> None:
    with Hold(dsn, "scheduler-2") as hold:
        scheduler_2.begin(RUNNING["3.0.6"])
        hold.wait_held(timeout=40)
        remove(dsn, timeout=10)
        assert scheduler_2.ended(40)


def test_the_owner_needs_no_privilege(dsn: str, scheduler_1: Process) -> None:
    (role,) = scheduler_1.run("SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles"
                              " WHERE rolname = current_user")  # fmt: skip
    assert not any(role.values())
    with psycopg.connect(dsn) as connection, Hold(dsn, "scheduler-1"):
        assert connection.execute("SELECT count(*) FROM chaos.rule").fetchone() == (1,)


@pytest.mark.parametrize(
    "asked", ["pass(scanned text)", "changes(changed text, written anyelement)"]
)
def test_rules_are_read_only_while_there_is_one(dsn: str, scheduler_1: Process, asked: str) -> None:
    point = Point("dag", row={} if "written" in asked else None)

    def is_asked() -> bool:
        try:
            scheduler_1.run("UPDATE dag SET is_paused = false WHERE dag_id <> ''")
        except psycopg.errors.RaiseException:
            return True
        return False

    with Hold(dsn, "another", point):
        scheduler_1.run(
            f"CREATE OR REPLACE FUNCTION chaos.{asked} RETURNS boolean LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'asked'; END $$"
        )
        assert is_asked()
    assert eventually(lambda: not is_asked(), 5), "its session has ended, and its lock with it"
