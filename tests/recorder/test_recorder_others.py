"""Rows of other tables are recorded where a promise needs them, and where we may."""

import json
from typing import Any

import psycopg
import pytest

from lab.embedded.postgres import SUPERUSER, Postgres
from oracle.events import DagRunEvent, RowEvent
from oracle.rows import TABLES
from recorder import audit
from recorder.audit import AuditError
from tests.recorder.tables import Connect, Recording, installed

TRIGGERS = """
    SELECT c.relname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE t.tgname = 'oracle_changed'
"""


def rows(events: list[Any], table: str) -> list[tuple[str, Any, Any]]:
    found = [each for each in events if isinstance(each, RowEvent) and each.table == table]
    return [(each.op, each.old, each.new) for each in found]


def watched(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {str(row[0]) for row in connection.execute(TRIGGERS)}


def test_the_limits_that_stand_are_seen_and_their_changes_recorded(
    dsn: str, connect: Connect
) -> None:
    audit.install(dsn)
    recording = Recording(dsn)
    known = {"pool": "default_pool", "slots": 128, "include_deferred": False}
    assert rows(recording.seen, "slot_pool") == [("seen", None, known)]
    connect("api-server").execute("UPDATE slot_pool SET slots = 3")
    (changed,) = recording.poll()
    assert isinstance(changed, RowEvent)
    assert (changed.op, changed.old, changed.new) == ("update", known, {**known, "slots": 3})
    assert (changed.process, changed.xid > 0) == ("api-server", True)


def test_what_no_promise_needs_is_not_recorded(dsn: str, connect: Connect) -> None:
    audit.install(dsn)
    recording = Recording(dsn)
    connect("dag-processor").execute("UPDATE dag SET has_task_concurrency_limits = true")
    assert recording.poll() == []


def test_a_row_comes_and_goes(dsn: str, connect: Connect) -> None:
    audit.install(dsn)
    recording = Recording(dsn)
    session = connect("api-server")
    session.execute("INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('p', 1, true)")
    session.execute("DELETE FROM slot_pool WHERE pool = 'p'")
    row = {"pool": "p", "slots": 1, "include_deferred": True}
    came_and_went = [("insert", None, row), ("delete", row, None)]
    assert rows(recording.poll(), "slot_pool") == came_and_went


def test_a_table_that_the_release_has_not_is_left_out(dsn: str) -> None:
    audit.install(dsn)
    assert {"dag", "slot_pool"} <= watched(dsn)
    assert watched(dsn) <= {"dag_run", "task_instance", *TABLES}
    assert "asset_event" not in watched(dsn), "these tables are of before"
    assert installed(dsn)


def test_a_table_of_which_our_role_may_not_have_a_trigger_is_left_out(
    postgres: Postgres, dsn: str
) -> None:
    database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(postgres.dsn(SUPERUSER, str(database)), autocommit=True) as superuser:
        superuser.execute(f"ALTER TABLE slot_pool OWNER TO {SUPERUSER}")
    audit.install(dsn)
    assert "slot_pool" not in watched(dsn)
    assert "dag" in watched(dsn)
    assert rows(Recording(dsn).seen, "slot_pool") == []


def test_all_of_it_goes_and_the_second_time_too(dsn: str) -> None:
    for _ in range(2):
        audit.install(dsn)
        assert watched(dsn)
        audit.remove(dsn)
        assert watched(dsn) == set()


def test_a_trigger_that_is_gone_is_a_fault(dsn: str, connect: Connect) -> None:
    audit.install(dsn)
    connect("psql").execute("DROP TRIGGER oracle_changed ON slot_pool")
    assert not installed(dsn)
    with pytest.raises(AuditError, match="a trigger on another table is gone"):
        Recording(dsn)


def test_the_end_of_a_run_that_ends_again_is_recorded(dsn: str, connect: Connect) -> None:
    audit.install(dsn)
    recording = Recording(dsn)
    scheduler = connect("scheduler-1")
    scheduler.execute("UPDATE dag_run SET state = 'success', end_date = to_timestamp(100)")
    scheduler.execute("UPDATE dag_run SET state = 'success', end_date = to_timestamp(105.5)")
    scheduler.execute("UPDATE dag_run SET last_scheduling_decision = now()")
    told = [each for each in recording.poll() if isinstance(each, DagRunEvent)]
    ends = [(each.old, each.new, each.old_end, each.new_end) for each in told]
    assert ends == [("running", "success", None, 100.0), ("success", "success", 100.0, 105.5)]


CALLBACK_TABLES = """
    CREATE TABLE callback (
        id uuid PRIMARY KEY, type varchar(20), fetch_method varchar(20), data json NOT NULL,
        bundle_name varchar(250), state varchar(10), output text, priority_weight integer,
        created_at timestamptz, trigger_id integer
    );
    CREATE TABLE callback_request (
        id serial PRIMARY KEY, created_at timestamptz, priority_weight integer NOT NULL,
        callback_data json NOT NULL, callback_type varchar(20) NOT NULL
    );
"""
"""As Airflow 3.2 and Airflow 3.0 have them; no release has both."""

OF_A_RUN = {
    "filepath": "factory.py",
    "bundle_name": "dags-folder",
    "dag_id": "d",
    "run_id": "r1",
    "context_from_server": {"dag_run": {"conf": {"password": "hunter2"}}},
    "is_failure_callback": False,
    "type": "DagCallbackRequest",
}
OF_A_TRY = {
    "filepath": "factory.py",
    "bundle_name": "dags-folder",
    "msg": "hunter2 was refused",
    "ti": {
        "id": "01a2294a-2fbc-7505-ab8d-bea1f3bce121",
        "task_id": "t",
        "dag_id": "d",
        "run_id": "r1",
        "try_number": 2,
        "map_index": 3,
    },
    "type": "TaskCallbackRequest",
}
TOLD_OF_A_RUN = {
    "request": "DagCallbackRequest",
    "failed": False,
    "dag_id": "d",
    "run_id": "r1",
    **dict.fromkeys(("task_id", "map_index", "ti", "try_number")),
}
TOLD_OF_A_TRY = {
    "request": "TaskCallbackRequest",
    "failed": None,
    "dag_id": "d",
    "run_id": "r1",
    "task_id": "t",
    "map_index": 3,
    "ti": "01a2294a-2fbc-7505-ab8d-bea1f3bce121",
    "try_number": 2,
}


def ask(session: psycopg.Connection[Any], table: str, request: dict[str, Any]) -> str:
    """Ask for a callback as a release does; return the row's id."""
    kind, text = request["type"], json.dumps(request)
    if table == "callback_request":
        what = (kind, json.dumps(text))
        statement = """
            INSERT INTO callback_request (priority_weight, callback_type, callback_data)
            VALUES (1, %s, %s) RETURNING id::text
        """
    else:
        data = {"__var": {"req_class": kind, "req_data": text}, "__type": "dict"}
        what = ("dag_processor", json.dumps(data))
        statement = """
            INSERT INTO callback (id, type, data) VALUES (gen_random_uuid(), %s, %s)
            RETURNING id::text
        """
    row = session.execute(statement, what).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("table", ["callback", "callback_request"])
@pytest.mark.parametrize(
    ("request_", "told"), [(OF_A_RUN, TOLD_OF_A_RUN), (OF_A_TRY, TOLD_OF_A_TRY)]
)
def test_of_a_callback_is_told_whose_it_is_and_nothing_else(
    dsn: str, connect: Connect, table: str, request_: dict[str, Any], told: dict[str, Any]
) -> None:
    session = connect("scheduler-2")
    session.execute(CALLBACK_TABLES)
    audit.install(dsn)
    recording = Recording(dsn)
    number = ask(session, table, request_)
    session.execute(f"DELETE FROM {table}")
    (asked,) = recording.poll()
    assert isinstance(asked, RowEvent)
    assert (asked.table, asked.op, asked.old) == (table, "insert", None)
    assert asked.process == "scheduler-2"
    assert asked.new == {"id": int(number) if number.isdigit() else number, **told}


def test_a_callback_that_is_nobody_s_is_no_gap(dsn: str, connect: Connect) -> None:
    session = connect("scheduler-2")
    session.execute(CALLBACK_TABLES)
    audit.install(dsn)
    recording = Recording(dsn)
    deadline = '{"__var": {"path": "m.f", "kwargs": {}}, "__type": "dict"}'
    session.execute("INSERT INTO callback (id, data) VALUES (gen_random_uuid(), %s)", (deadline,))
    (asked,) = recording.poll()
    assert isinstance(asked, RowEvent)
    assert asked.new is not None
    assert (asked.new["request"], asked.new["dag_id"]) == (None, None)
