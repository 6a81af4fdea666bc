"""Rows of other tables are recorded where a promise needs them, and where we may."""

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
