"""The machinery inside statements comes and goes unnoticed, and leaves no trace."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from chaos.holds.installer import install, installed, remove
from chaos.holds.points import RUNNING_DAG_RUNS
from chaos.holds.rule import Rule
from chaos.statement_delay import StatementDelay
from common.errors import UserError
from lab.database import connect, unbound
from lab.embedded.postgres import SUPERUSER, Postgres
from tests.lab.miniature import RUNNING, Process, lab, superuser

pytest_plugins = ["tests.lab.miniature_fixtures"]

CATALOGS = (
    *("pg_attribute", "pg_class", "pg_constraint", "pg_db_role_setting", "pg_default_acl"),
    *("pg_depend", "pg_description", "pg_index", "pg_namespace", "pg_policy", "pg_proc"),
    *("pg_rewrite", "pg_sequence", "pg_shdepend", "pg_trigger", "pg_type"),
)
VOLATILE = ("relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid")


def catalog(dsn: str) -> dict[str, list[str]]:
    """Return every row of the catalogs, but for the columns that VACUUM writes."""
    with psycopg.connect(dsn) as connection:
        return {
            name: [
                str(row[0])
                for row in connection.execute(
                    f"SELECT to_jsonb(c) - %s::text[] FROM {name} AS c ORDER BY 1::int, c::text",
                    (list(VOLATILE),),
                )
            ]
            for name in CATALOGS
        }


def plan(process: Process, statement: str) -> list[str]:
    """Return a statement's plan, without what the policy adds to it."""
    lines = [row["QUERY PLAN"] for row in process.run(f"EXPLAIN (COSTS OFF) {statement}")]
    text = "\n".join(lines)
    text = text.replace("((InitPlan 1).col1 IS NOT NULL) AND ", "")
    text = re.sub(r"\n *Filter: \(\(InitPlan 1\).col1 IS NOT NULL\)", "", text)
    return re.sub(r"\n *InitPlan 1\n *->  Result", "", text).splitlines()


def test_leaves_no_trace(dsn: str, scheduler_1: Process, scheduler_2: Process) -> None:
    before = catalog(dsn)
    assert any("dag_run" in row for row in before["pg_class"])
    install(dsn)
    assert catalog(dsn) != before
    with StatementDelay("scheduler-*", 0.01, jitter=0.01).on(lab(dsn)):
        scheduler_1.run(RUNNING["3.0.6"])
        scheduler_2.run(RUNNING["3.0.6"])
    remove(dsn)
    assert catalog(dsn) == before


def test_installs_and_removes_once(dsn: str) -> None:
    assert not installed(dsn)
    remove(dsn)
    for _ in range(2):
        install(dsn)
        assert installed(dsn)
    for _ in range(2):
        remove(dsn)
        assert not installed(dsn)


def test_several_may_install_and_remove_at_once(dsn: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for change, there in ((install, True), (remove, False), (install, True)):
            list(pool.map(change, [dsn] * 4))
            assert installed(dsn) is there


def test_replaces_what_another_version_installed(dsn: str, scheduler_1: Process) -> None:
    install(dsn)
    scheduler_1.run("COMMENT ON SCHEMA chaos IS 'airflow-ha-chaos 0123456789ab'")
    assert not installed(dsn)
    install(dsn)
    assert installed(dsn)


def test_touches_no_schema_of_somebody_else(dsn: str, scheduler_1: Process) -> None:
    scheduler_1.run("CREATE SCHEMA chaos")
    for change in (install, remove):
        with pytest.raises(UserError, match="that is not ours"):
            change(dsn)


def test_goes_in_and_out_while_processes_work(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    done = threading.Event()
    errors: list[Exception] = []
    counts = [0, 0]

    def work(process: Process, number: int) -> None:
        try:
            while not done.is_set():
                with process.connection.transaction():
                    process.run(RUNNING["3.3.2"])
                    process.run("UPDATE dag SET is_stale = false WHERE dag_id = 'dag-2'")
                counts[number] += 1
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(process, number))
        for number, process in enumerate((scheduler_1, scheduler_2))
    ]
    for thread in threads:
        thread.start()
    for _ in range(3):
        install(dsn, timeout=20)
        remove(dsn, timeout=20)
    done.set()
    for thread in threads:
        thread.join(40)
    assert not errors
    assert min(counts) > 0


def test_names_who_keeps_the_table_locked(dsn: str, scheduler_1: Process) -> None:
    install(dsn)
    scheduler_1.run("BEGIN")
    scheduler_1.run("SELECT FROM dag")
    with pytest.raises(UserError, match=r"locked for 0 s by scheduler-1 \(pid \d+\)"):
        remove(dsn, timeout=0)
    scheduler_1.run("COMMIT")
    remove(dsn)


def test_waits_for_its_lock_in_slices_that_let_others_go_on(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    scheduler_1.run("BEGIN")
    scheduler_1.run("SELECT FROM dag")
    thread = threading.Thread(target=install, args=(dsn,), kwargs={"timeout": 20})
    thread.start()
    scheduler_2.begin("SELECT FROM dag")
    assert scheduler_2.ended(40), (
        "a statement does not wait behind the one that waits for the table"
    )
    scheduler_1.run("COMMIT")
    thread.join(40)
    assert installed(dsn)


def reason(dsn: str) -> str | None:
    """Return why nothing of this role can be held."""
    with connect(dsn) as connection:
        return unbound(connection)


def test_a_superuser_is_refused_with_the_reason(postgres: Postgres, database: str) -> None:
    dsn = postgres.dsn(SUPERUSER, database)
    assert "superuser" in (reason(dsn) or "")
    with pytest.raises(UserError, match="exempt from row-level security"):
        install(dsn)


def test_says_that_a_database_is_not_airflows(dsn: str, scheduler_1: Process) -> None:
    scheduler_1.run("ALTER TABLE dag RENAME TO cat")
    assert reason(dsn) == "the database has no table dag"


def test_is_available_to_the_ordinary_owner_before_and_after_installing(dsn: str) -> None:
    assert reason(dsn) is None
    install(dsn)
    assert reason(dsn) is None


def test_writes_to_dag_work_as_before(dsn: str, scheduler_1: Process) -> None:
    install(dsn)
    scheduler_1.run("INSERT INTO dag (dag_id) VALUES ('new')")
    scheduler_1.run("INSERT INTO dag (dag_id) VALUES ('new'), ('newer') ON CONFLICT (dag_id)"
                    " DO UPDATE SET is_paused = true")  # fmt: skip
    scheduler_1.run("UPDATE dag SET is_stale = true WHERE dag_id = 'newer'")
    scheduler_1.run("DELETE FROM dag WHERE dag_id = 'dag-2'")
    rows = scheduler_1.run("SELECT * FROM dag WHERE dag_id LIKE 'new%' ORDER BY dag_id")
    assert [(r["dag_id"], r["is_paused"], r["is_stale"]) for r in rows] == [
        ("new", True, False),
        ("newer", False, True),
    ]
    assert len(scheduler_1.run("SELECT dag_id FROM dag")) == 21


def test_other_roles_see_the_table_as_before(postgres: Postgres, database: str, dsn: str) -> None:
    install(dsn)
    role = f"reader_{database}"
    superuser(postgres, f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'")
    superuser(postgres, f"GRANT SELECT ON dag TO {role}", database)
    with psycopg.connect(postgres.dsn(role, database)) as reader:
        assert reader.execute("SELECT count(*) FROM dag").fetchone() == (20,)
    superuser(postgres, f"DROP OWNED BY {role}; DROP ROLE {role}", database)


def test_another_role_goes_on_writing_dag_and_is_held_like_any(
    postgres: Postgres, database: str, dsn: str, scheduler_1: Process
) -> None:
    scheduler_1.run("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    install(dsn)
    role = f"writer_{database}"
    superuser(postgres, f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'")
    superuser(postgres, f"GRANT SELECT, INSERT, UPDATE, DELETE ON dag TO {role}", database)
    other = postgres.dsn(role, database, application_name="rotated")
    with (
        StatementDelay("rotated", 0.3).on(lab(dsn)),
        psycopg.connect(other, autocommit=True) as writer,
    ):
        writer.execute("INSERT INTO dag (dag_id) VALUES ('new')")
        writer.execute("UPDATE dag SET is_stale = true WHERE dag_id = 'new'")
        assert writer.execute("SELECT count(*) FROM dag").fetchone() == (21,)
        assert writer.execute("DELETE FROM dag WHERE dag_id = 'new'").rowcount == 1
    superuser(postgres, f"DROP OWNED BY {role}; DROP ROLE {role}", database)


def test_a_controller_s_session_has_no_setting_made_in_it(dsn: str) -> None:
    with connect(dsn) as controller:
        found = controller.execute(
            "SELECT name, setting FROM pg_settings WHERE source = 'session'"
        ).fetchall()
        kept = controller.execute("SHOW tcp_keepalives_idle").fetchone()
    assert found == []
    assert kept == ("5",)


@pytest.mark.parametrize("statement", [*RUNNING.values(), "SELECT * FROM dag"])
def test_plans_stay_as_they_were(dsn: str, scheduler_1: Process, statement: str) -> None:
    scheduler_1.run("ANALYZE")
    before = plan(scheduler_1, statement)
    install(dsn)
    assert any("InitPlan" in str(r) for r in scheduler_1.run(f"EXPLAIN {statement}"))
    assert plan(scheduler_1, statement) == before


def test_a_rule_without_its_controller_is_swept_by_the_next(dsn: str, scheduler_1: Process) -> None:
    dead = Rule(dsn, "scheduler-1", RUNNING_DAG_RUNS)
    dead.put()
    dead.connection.close()
    deadline = time.monotonic() + 5
    rule = Rule(dsn, "scheduler-2", RUNNING_DAG_RUNS)
    while time.monotonic() < deadline:
        rule.put()
        rows = scheduler_1.run("SELECT process FROM chaos.rule")
        if len(rows) == 1:
            break
        time.sleep(0.05)
    assert [row["process"] for row in rows] == ["scheduler-2"]
    assert rule.withdraw() == ""
    assert scheduler_1.run("SELECT FROM chaos.rule") == []
