"""The audit: the ordinary owner installs and removes it, and it tells every essential change."""

import threading
from typing import Any

import psycopg
import pytest

from lab.embedded.postgres import OWNER, SUPERUSER, Postgres
from recorder import audit
from tests.recorder.tables import Connect, Connection, add_task, installed, set_state

_CATALOGS = {
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_t'",
    # But for relhastriggers, which says that a table has or once had some, until it is vacuumed.
    "relations": "SELECT relname, relkind, relrowsecurity, relforcerowsecurity, "
    "relhasrules, relacl::text, relowner, relchecks, relnatts FROM pg_class",
    "triggers": "SELECT tgrelid, tgname, tgenabled FROM pg_trigger",
    "functions": "SELECT pronamespace, proname FROM pg_proc",
    "types": "SELECT typnamespace, typname FROM pg_type",
    "columns": "SELECT attrelid, attname, attnum FROM pg_attribute",
    "defaults": "SELECT adrelid, adnum FROM pg_attrdef",
    "default privileges": "SELECT defaclrole, defaclacl::text FROM pg_default_acl",
    "policies": "SELECT polname FROM pg_policy",
    "settings": "SELECT setdatabase, setrole, setconfig::text FROM pg_db_role_setting",
    "comments": "SELECT objoid, classoid, description FROM pg_description",
    "dependencies": "SELECT classid, objid, refclassid, refobjid FROM pg_depend",
    "roles": "SELECT rolname, rolsuper FROM pg_roles",
    "event triggers": "SELECT evtname FROM pg_event_trigger",
    "extensions": "SELECT extname FROM pg_extension",
}


def catalogs(dsn: str) -> dict[str, set[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        return {
            what: set(connection.execute(f"{query}").fetchall())
            for what, query in _CATALOGS.items()
        }


def rows(connection: Connection, kind: str = "ti") -> list[dict[str, Any]]:
    found = connection.execute(
        "SELECT body FROM oracle.audit WHERE kind = %s ORDER BY seq", (kind,)
    )
    return [row[0] for row in found]


@pytest.fixture
def scheduler(dsn: str, connect: Connect) -> Connection:
    """Install the audit, and connect as a scheduler."""
    audit.install(dsn)
    return connect("scheduler-1")


def test_the_role_that_installs_it_is_no_superuser(postgres: Postgres, dsn: str) -> None:
    with psycopg.connect(postgres.dsn(SUPERUSER, SUPERUSER)) as connection:
        found = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (OWNER,))
        assert found.fetchone() == (False,)
    audit.install(dsn)
    assert installed(dsn)


def test_it_leaves_no_trace_in_the_catalogs_after_removal(dsn: str, connect: Connect) -> None:
    before = catalogs(dsn)
    audit.install(dsn)
    assert catalogs(dsn) != before
    add_task(connect(), "t")
    audit.remove(dsn)
    assert catalogs(dsn) == before
    assert not installed(dsn)


def test_installing_it_twice_keeps_what_is_written(dsn: str, scheduler: Connection) -> None:
    add_task(scheduler, "t")
    audit.install(dsn)
    assert len(rows(scheduler)) == 1


def test_another_edition_of_it_is_replaced(dsn: str, scheduler: Connection) -> None:
    scheduler.execute("COMMENT ON SCHEMA oracle IS 'ha-chaos audit of yore'")
    scheduler.execute("DROP FUNCTION oracle.record_run CASCADE")
    assert not installed(dsn)
    audit.install(dsn)
    assert installed(dsn)


def test_removing_it_where_it_is_not_changes_nothing(dsn: str) -> None:
    before = catalogs(dsn)
    audit.remove(dsn)
    assert catalogs(dsn) == before


def test_it_does_not_count_as_installed_while_a_trigger_is_off(
    dsn: str, scheduler: Connection
) -> None:
    scheduler.execute("ALTER TABLE task_instance DISABLE TRIGGER oracle_changed")
    assert not installed(dsn)


def test_a_database_without_airflow_is_refused_in_one_line(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP TABLE task_instance, dag_run")
    with pytest.raises(audit.AuditError, match="no migrated database of Airflow") as caught:
        audit.install(dsn)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_in_one_line_without_the_password(
    postgres: Postgres,
) -> None:
    with pytest.raises(audit.AuditError) as caught:
        audit.install(postgres.dsn().replace(f"port={postgres.port}", "port=1"))
    assert "\n" not in str(caught.value)
    assert postgres.password not in str(caught.value)


def test_locked_tables_are_waited_for_and_their_owner_is_never_aborted(
    dsn: str, connect: Connect
) -> None:
    holder = connect("scheduler-1", autocommit=False)
    set_state(holder, "t", "queued")
    with pytest.raises(audit.AuditError, match="stayed locked for 1 s"):
        audit.install(dsn, timeout=1.0)
    assert not installed(dsn)

    installing = threading.Thread(target=audit.install, args=(dsn,))
    installing.start()
    set_state(holder, "t", "running")
    holder.commit()
    installing.join()
    assert installed(dsn)


def test_a_heartbeat_writes_nothing(scheduler: Connection) -> None:
    add_task(scheduler, "t", "running")
    before = len(rows(scheduler))
    scheduler.execute(
        "UPDATE task_instance SET last_heartbeat_at = now(), updated_at = now(), pid = 7"
    )
    scheduler.execute("UPDATE dag_run SET last_scheduling_decision = now(), updated_at = now()")
    scheduler.execute("UPDATE task_instance SET state = state, try_number = try_number")
    assert len(rows(scheduler)) == before
    assert rows(scheduler, "run") == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "00000000-0000-0000-0000-00000000000a"),
        ("state", "queued"),
        ("try_number", 3),
        ("max_tries", 4),
        ("queued_by_job_id", 5),
        ("external_executor_id", "pod-1"),
    ],
)
def test_a_change_of_each_essential_is_written_with_its_old_and_new_value(
    scheduler: Connection, column: str, value: object
) -> None:
    add_task(scheduler, "t", "scheduled")
    scheduler.execute(f"UPDATE task_instance SET {column} = %s", (value,))
    _, change = rows(scheduler)
    assert change["op"] == "update"
    assert change["new"][column] == value
    assert change["old"][column] != value
    assert {k for k in change["new"] if change["new"][k] != change["old"][k]} == {column}


def test_insert_and_delete_are_written_and_name_the_task_instance(scheduler: Connection) -> None:
    add_task(scheduler, "t", "queued")
    scheduler.execute("DELETE FROM dag_run")
    came, went = rows(scheduler)
    key = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    assert key.items() <= came.items()
    assert key.items() <= went.items()
    assert (came["op"], came["old"], came["new"]["state"]) == ("insert", None, "queued")
    assert (went["op"], went["new"], went["old"]) == ("delete", None, came["new"])
    assert rows(scheduler, "run") == [
        {
            "op": "delete",
            "dag_id": "d",
            "run_id": "r",
            "id": 1,
            "backfill": None,
            "old": {"state": "running", "end": None},
            "new": None,
        }
    ]


def test_a_row_says_which_process_changed_it_and_in_which_transaction(
    connect: Connect, scheduler: Connection
) -> None:
    add_task(scheduler, "t")
    other = connect("scheduler-2", autocommit=False)
    set_state(other, "t", "queued")
    xid = other.execute("SELECT pg_current_xact_id()::text").fetchone()
    other.commit()
    found = scheduler.execute("SELECT process, xid::text FROM oracle.audit ORDER BY seq").fetchall()
    assert found[0][0] == "scheduler-1"
    assert found[1] == ("scheduler-2", *(xid or ()))


def test_a_rollback_even_to_a_savepoint_leaves_no_row(
    connect: Connect, scheduler: Connection
) -> None:
    add_task(scheduler, "t")
    writer = connect(autocommit=False)
    set_state(writer, "t", "queued")
    writer.rollback()
    with writer.transaction():
        with writer.transaction() as inner:
            set_state(writer, "t", "failed")
            raise psycopg.Rollback(inner)
        set_state(writer, "t", "queued")
    writer.commit()
    assert [row["new"]["state"] for row in rows(scheduler)] == [None, "queued"]


def test_it_is_deaf_to_functions_put_in_front_of_the_search_path(scheduler: Connection) -> None:
    scheduler.execute("CREATE SCHEMA chaos")
    scheduler.execute(
        "CREATE FUNCTION chaos.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'shadowed' $$"
    )
    scheduler.execute("SET search_path = chaos, pg_catalog, public")
    add_task(scheduler, "t")
    assert rows(scheduler)[0]["op"] == "insert"


def test_a_task_can_write_its_ledger_with_no_more_than_kind_and_body(
    connect: Connect, scheduler: Connection
) -> None:
    connect("task").execute("INSERT INTO oracle.audit (kind, body) VALUES ('ledger', '{}')")
    found = scheduler.execute("SELECT process, xid IS NOT NULL, at IS NOT NULL FROM oracle.audit")
    assert found.fetchone() == ("task", True, True)
