"""No harm: what the audit meets in somebody's production fails nobody's statement there."""

from collections.abc import Callable

import psycopg
import pytest

from lab.embedded.postgres import SUPERUSER, Postgres
from oracle.events import TaskInstanceEvent
from recorder import audit, tables
from recorder.tables import WATCHED
from tests.recorder.tables import Connect, Connection, Recording, add_task, installed, set_state
from tests.recorder.test_recorder_audit import catalogs, rows

ATTEMPTS = """
    ALTER TABLE task_instance RENAME map_index TO region_index;
    ALTER TABLE task_instance ADD working_set boolean DEFAULT true, ADD archived_reason varchar(50),
        ADD region_id uuid NOT NULL DEFAULT '00000000000000000000000000000000';
"""
REGION = "11111111-2222-3333-4444-555555555555"

AsSuperuser = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def as_superuser(postgres: Postgres, dsn: str) -> AsSuperuser:
    """Return what runs a statement in the test's database as its superuser."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]

    def run(statement: str) -> list[tuple[object, ...]]:
        where = postgres.dsn(SUPERUSER, str(name))
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def airflow(connect: Connect) -> Connection:
    """Connect as a process of Airflow's."""
    return connect("scheduler-1")


def test_the_model_is_told_by_the_tables(dsn: str, airflow: Connection) -> None:
    assert tables.model(airflow) == "row-per-task"
    audit.install(dsn)
    assert Recording(dsn).reader.model == "row-per-task"
    audit.remove(dsn)
    airflow.execute(ATTEMPTS)
    audit.install(dsn)
    assert Recording(dsn).reader.model == "row-per-attempt"


def test_an_attempt_that_is_a_row_is_told_with_its_archiving_and_region(
    dsn: str, airflow: Connection
) -> None:
    airflow.execute(ATTEMPTS)
    audit.install(dsn)
    recording = Recording(dsn)
    add_task(airflow, "t", "failed")
    airflow.execute("UPDATE task_instance SET working_set = NULL, archived_reason = 'retry'")
    airflow.execute("UPDATE task_instance SET archived_reason = 'cleared'")
    airflow.execute("UPDATE task_instance SET region_id = %s, state = 'success'", (REGION,))
    events = [each for each in recording.poll() if isinstance(each, TaskInstanceEvent)]
    news = [(each.new.archived, each.new.archived_reason) for each in events if each.new]
    assert news == [(False, None), (True, "retry"), (True, "cleared"), (True, "cleared")]
    assert [each.ti.region for each in events] == ["", "", "", REGION]
    assert "region" not in rows(airflow)[0]
    recording.reader.finish(5.0)
    assert recording.stream.gaps == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE task_instance RENAME map_index TO elsewhere", "task_instance.map_index"),
        ("ALTER TABLE task_instance DROP COLUMN queued_by_job_id", "queued_by_job_id"),
        ("ALTER TABLE dag_run RENAME state TO phase", "dag_run.state"),
        (f"{ATTEMPTS} ALTER TABLE task_instance DROP working_set", "task_instance.working_set"),
        ("ALTER TABLE task_instance ADD working_set boolean", "task_instance.region_index"),
        (f"{ATTEMPTS} ALTER TABLE task_instance ADD map_index integer", "map_index, region_id"),
    ],
)
def test_a_release_with_other_columns_is_refused_by_their_names_and_nothing_is_left(
    dsn: str, airflow: Connection, change: str, named: str
) -> None:
    airflow.execute(change.encode())
    before = catalogs(dsn)
    for refused in (audit.install, audit.rehearse):
        with pytest.raises(audit.AuditError, match="does not know this release") as caught:
            refused(dsn)
        assert named in str(caught.value)
        assert "\n" not in str(caught.value)
    assert catalogs(dsn) == before


def test_what_does_not_work_there_is_refused_with_the_reason_and_nothing_is_left(
    dsn: str, airflow: Connection
) -> None:
    airflow.execute(
        """CREATE DOMAIN fussy AS text CHECK (VALUE <> 'running');
        ALTER TABLE task_instance ALTER state TYPE fussy"""
    )
    before = catalogs(dsn)
    for refused in (audit.install, audit.rehearse):
        with pytest.raises(audit.AuditError, match="fussy") as caught:
            refused(dsn)
        assert "\n" not in str(caught.value)
    assert catalogs(dsn) == before


def test_trying_leaves_no_trace_and_waits_for_nobody(
    dsn: str, airflow: Connection, connect: Connect
) -> None:
    add_task(airflow, "t")
    busy = connect("scheduler-2", autocommit=False)
    set_state(busy, "t", "queued")
    before = catalogs(dsn)
    audit.rehearse(dsn, timeout=0.0)
    assert catalogs(dsn) == before


def test_a_long_query_does_not_hinder_the_installation(dsn: str, connect: Connect) -> None:
    report = connect("report", autocommit=False)
    report.execute("SELECT count(*) FROM task_instance, dag_run")
    audit.install(dsn, timeout=0.0)


@pytest.mark.parametrize("change", [audit.install, audit.remove, audit.rehearse])
@pytest.mark.parametrize("comment", ["NULL", "'Oracle functions'"])
def test_a_schema_of_somebody_else_is_refused_and_kept(
    dsn: str, airflow: Connection, change: Callable[[str], None], comment: str
) -> None:
    airflow.execute(f"CREATE SCHEMA oracle; COMMENT ON SCHEMA oracle IS {comment}".encode())
    airflow.execute("CREATE TABLE oracle.audit AS SELECT 'theirs' AS whose")
    with pytest.raises(audit.AuditError, match="schema `oracle` that is not ours"):
        change(dsn)
    assert airflow.execute("SELECT whose FROM oracle.audit").fetchall() == [("theirs",)]


def test_another_role_goes_on_writing_and_keeps_its_name(
    postgres: Postgres, dsn: str, airflow: Connection, as_superuser: AsSuperuser
) -> None:
    audit.install(dsn)
    role = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    as_superuser(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'")
    as_superuser(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    other = postgres.dsn(str(role), str(role))
    with psycopg.connect(other, application_name="rotated", autocommit=True) as connection:
        add_task(connection, "t", "queued")
        set_state(connection, "t", "running")
        connection.execute("DELETE FROM dag_run")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM oracle.audit")
    found = airflow.execute("SELECT kind, process FROM oracle.audit ORDER BY seq").fetchall()
    assert found == [("ti", "rotated")] * 2 + [("run", "rotated"), ("ti", "rotated")]
    as_superuser(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_who_may_use_the_tables_may_use_the_audit_so_that_backups_and_ledgers_go_on(
    postgres: Postgres, dsn: str, as_superuser: AsSuperuser
) -> None:
    role = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    as_superuser(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'")
    as_superuser(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}")
    audit.install(dsn)
    with psycopg.connect(postgres.dsn(str(role), str(role))) as backup:
        backup.execute("LOCK TABLE oracle.audit, oracle.epoch IN ACCESS SHARE MODE")
        backup.execute("SELECT FROM oracle.lost, oracle.audit_seq_seq")
        backup.execute("INSERT INTO oracle.audit (kind, body) VALUES ('ledger', '{}')")
    audit.remove(dsn)
    as_superuser(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_column_that_is_renamed_under_it_is_a_gap_and_airflow_goes_on(
    recording: Recording, airflow: Connection
) -> None:
    airflow.execute("ALTER TABLE task_instance RENAME map_index TO region_index")
    for number in range(3):
        add_task(airflow, f"t{number}")
    set_state(airflow, "t1", "queued")
    recording.poll()
    assert len(recording.stream.gaps) == 1, "told once, however many changes it meets"
    assert 'no field "map_index"' in recording.stream.gaps[0]
    recording.reader.finish(5.0)
    assert "changed under the recorder" in recording.stream.gaps[-1]


def test_a_column_s_type_can_be_altered_under_it_also_for_sessions_that_live_on(
    dsn: str, recording: Recording, airflow: Connection, connect: Connect
) -> None:
    add_task(airflow, "t")
    set_state(airflow, "t", "queued")
    connect("migration").execute("ALTER TABLE task_instance ALTER external_executor_id TYPE text")
    connect("migration").execute("ALTER TABLE task_instance ALTER state TYPE varchar(100)")
    set_state(airflow, "t", "running")
    recording.reader.finish(5.0)
    assert recording.stream.gaps
    audit.install(dsn)
    set_state(airflow, "t", "success")
    assert [each["new"]["state"] for each in rows(airflow)] == ["success"]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE oracle.audit ADD CHECK (false) NOT VALID",
        "ALTER TABLE oracle.audit DROP COLUMN body",
        "ALTER TABLE oracle.audit RENAME TO elsewhere",
        "DROP TABLE oracle.audit",
        "DROP SEQUENCE oracle.lost; ALTER TABLE oracle.audit ADD CHECK (false) NOT VALID",
    ],
)
def test_whatever_happens_to_the_audit_airflow_goes_on_and_the_loss_is_told(
    dsn: str, recording: Recording, airflow: Connection, damage: str
) -> None:
    airflow.execute(damage.encode())
    with airflow.transaction():
        add_task(airflow, "t")
        set_state(airflow, "t", "queued")
        airflow.execute("UPDATE dag_run SET state = 'success'")
    assert airflow.execute("SELECT state FROM task_instance").fetchall() == [("queued",)]
    assert not installed(dsn)
    recording.reader.finish(1.0)
    assert recording.stream.gaps


def test_a_transaction_takes_one_transaction_id_more_however_much_it_changes(
    recording: Recording, airflow: Connection
) -> None:
    def next_id() -> int:
        row = airflow.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        assert row is not None
        return int(row[0])

    assert recording.reader.model == "row-per-task"
    before = next_id()
    with airflow.transaction():
        for number in range(100):
            add_task(airflow, f"t{number}")
        airflow.execute("UPDATE task_instance SET state = 'queued'")
    assert next_id() - before == 2
    airflow.execute("UPDATE task_instance SET last_heartbeat_at = now()")
    assert next_id() - before == 3, "a heartbeat takes its own only"


@pytest.mark.parametrize("table", WATCHED)
def test_a_truncated_table_is_a_gap(recording: Recording, airflow: Connection, table: str) -> None:
    airflow.execute(f"TRUNCATE {table} CASCADE".encode())
    recording.poll()
    assert any("TRUNCATE" in gap for gap in recording.stream.gaps)


def test_no_setting_stays_in_the_reader_s_session(recording: Recording) -> None:
    recording.poll()
    connection = recording.reader._link.connection
    assert connection is not None
    for setting in ("enable_seqscan", "enable_bitmapscan"):
        assert connection.execute(f"SHOW {setting}".encode()).fetchone() == ("on",)
    statements = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert statements == (0,)
