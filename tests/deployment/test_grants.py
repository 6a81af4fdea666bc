"""Airflow's tables in a schema of their own; roles with few rights, told by the GRANT to run."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from kubernetes.client import CoreV1Api

from chaos.holds import installer
from chaos.holds.points import named
from chaos.holds.rule import Rule
from common.errors import UserError
from lab.cluster.database import find_database, reached
from lab.cluster.discovery import discover
from lab.cluster.identity import told_apart
from lab.database import unbound
from lab.embedded.postgres import Postgres
from recorder import audit
from run.keeper import try_installing
from tests.deployment.airflow import Airflow
from tests.deployment.attaching import attach
from tests.deployment.release import CONFIG, database, release
from tests.deployment.standin import StandIn
from tests.recorder.tables import Recording, add_task, installed, set_state

SCHEMA = 'Air "flow'
QUOTED_SCHEMA = '"Air ""flow"'
SETTING = "AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA"


@pytest.fixture
def apart(postgres: Postgres) -> Iterator[Airflow]:
    """Airflow's tables in a schema that no session looks into by itself."""
    made = Airflow(postgres, "deployed apart", schema=SCHEMA).create()
    yield made
    made.drop()


@pytest.fixture
def conninfo(apart: Airflow) -> Iterator[str]:
    """Conninfo as the lab makes it of a release that names its schema."""
    manifests = [*release(env={SETTING: SCHEMA}, url=apart.url()), *database()]
    with StandIn(manifests) as there:
        there.lead("airflow-db-0", 5432, apart.port)
        client = there.client()
        where, routes = find_database(client, discover(client, "airflow"))
        with reached(there.kubeconfig(), where, routes) as conninfo:
            yield conninfo


@pytest.mark.parametrize("way", ["environment", "airflow.cfg", "the URL's options"])
def test_the_tables_are_found_in_their_schema(apart: Airflow, way: str) -> None:
    env, config, query = {}, CONFIG, ""
    if way == "environment":
        env = {SETTING: SCHEMA}
    elif way == "airflow.cfg":
        config += f"[database]\nsql_alchemy_schema = {SCHEMA}\n"
    else:
        query = "?options=-csearch_path%3D%22Air%5C%20%22%22flow%22"
    manifests = [*release(config=config, env=env, url=apart.url(query=query)), *database()]
    with StandIn(manifests) as there:
        there.lead("airflow-db-0", 5432, apart.port)
        found = attach(there)
    assert found.role == "airflow"
    assert (f"schema of Airflow's tables: {SCHEMA}" in found.plan) == (not query)


def test_the_recorder_records_there_and_leaves_nothing(apart: Airflow, conninfo: str) -> None:
    try_installing(conninfo, "it")
    audit.install(conninfo)
    recording = Recording(conninfo)
    scheduler = apart.session("scheduler-1")
    scheduler.execute(
        "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
        "VALUES ('d', 'r', 'running', 'manual', now())"
    )
    add_task(scheduler, "t")
    set_state(scheduler, "t", "scheduled")
    assert len(recording.poll()) == 3
    recording.reader.close()
    audit.remove(conninfo)
    assert not installed(conninfo)
    assert not apart.has("oracle", "public.oracle")


def test_statements_are_held_there_as_sqlalchemy_writes_them(apart: Airflow, conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        assert unbound(connection) is None
    installer.install(conninfo)
    rule = Rule(conninfo, "scheduler-1", named("critical-section", {}, "3.3.2"))
    rule.put()
    tables = {name: f"{QUOTED_SCHEMA}.{name}" for name in ("task_instance", "dag_run", "dag")}
    statement = (
        "SELECT {task_instance}.id FROM {task_instance} JOIN {dag_run} ON {dag_run}.run_id = "
        "{task_instance}.run_id JOIN {dag} ON {task_instance}.dag_id = {dag}.dag_id "
        "FOR NO KEY UPDATE OF task_instance SKIP LOCKED"
    ).format(**tables)
    scheduler = apart.connect(application_name="scheduler-1")
    apart.session("x").execute(
        "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
        "VALUES ('d', 'r', 'running', 'manual', now())"
    )
    add_task(apart.session("x"), "t")
    scheduler.execute("SET ROLE airflow")
    scheduler.execute("SET statement_timeout = '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        scheduler.execute(statement.encode())
    rule.withdraw()
    assert scheduler.execute(statement.encode()).fetchall()
    installer.remove(conninfo)
    assert not apart.has("chaos")


def test_tables_that_a_session_does_not_find_are_told_with_their_schema(apart: Airflow) -> None:
    with StandIn([*release(url=apart.url()), *database()]) as there:
        there.lead("airflow-db-0", 5432, apart.port)
        with pytest.raises(UserError, match=f"are in the schema {SCHEMA}, where") as caught:
            attach(there)
    assert "sql_alchemy_schema" in str(caught.value)


ROLE = 'o\'brien "x"'
QUOTED = '"o\'brien ""x"""'


@pytest.fixture
def told(airflow: Airflow) -> Iterator[Callable[[], str]]:
    """Return what says why a role with no rights of its own is refused, empty when it is not."""
    name = QUOTED
    airflow.superuser(f"CREATE ROLE {name} LOGIN PASSWORD 'p:w'")
    url = f"postgresql://o%27brien %22x%22:p:w@airflow-db/{airflow.name}"
    with StandIn([*release(url=url), *database()]) as there:
        there.lead("airflow-db-0", 5432, airflow.port)

        def ask() -> str:
            try:
                assert attach(there).role == ROLE
            except UserError as error:
                return str(error)
            return ""

        yield ask
    airflow.superuser(f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def test_the_grants_that_are_told_are_those_that_it_takes(
    airflow: Airflow, told: Callable[[], str]
) -> None:
    """What is told is run, word by word, until nothing is: then the recorder works."""
    reason = told()
    assert f"GRANT CREATE ON DATABASE {airflow.name} TO {QUOTED};" in reason
    assert f"GRANT SELECT, TRIGGER, MAINTAIN ON task_instance TO {QUOTED};" in reason
    assert f"GRANT SELECT ON job TO {QUOTED};" in reason
    assert "\n" not in reason
    grants = [f"GRANT{part.partition(';')[0]}" for part in reason.split("GRANT")[1:]]
    airflow.superuser(*grants)
    assert told() == ""
    dsn = airflow.as_role(ROLE, "p:w")
    audit.install(dsn)
    assert installed(dsn)
    with airflow.connect(application_name="scheduler-1") as scheduler:
        scheduler.execute(
            "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
            "VALUES ('d', 'r', 'running', 'manual', now())"
        )
        add_task(scheduler, "t")
    with airflow.connect_as_superuser() as connection:
        assert connection.execute("SELECT count(*) FROM oracle.audit").fetchone() == (2,)
    audit.remove(dsn)
    assert not airflow.has("oracle")


def test_a_schema_that_a_role_may_not_look_into_is_told(
    airflow: Airflow, told: Callable[[], str]
) -> None:
    airflow.superuser("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    assert f"GRANT USAGE ON SCHEMA public TO {QUOTED};" in told()


def test_an_owner_without_create_is_told_the_one_grant(airflow: Airflow) -> None:
    airflow.superuser(
        f"ALTER DATABASE {airflow.name} OWNER TO postgres",
        f"REVOKE CREATE ON DATABASE {airflow.name} FROM PUBLIC, airflow",
    )
    with StandIn([*release(url=airflow.url()), *database()]) as there:
        there.lead("airflow-db-0", 5432, airflow.port)
        with pytest.raises(UserError, match="cannot be installed") as caught:
            attach(there)
    assert f": GRANT CREATE ON DATABASE {airflow.name} TO airflow; Or" in str(caught.value)


def test_a_database_that_is_not_airflow_s_is_told(airflow: Airflow) -> None:
    airflow.superuser("DROP TABLE task_instance, dag_run CASCADE")
    with StandIn([*release(url=airflow.url()), *database()]) as there:
        there.lead("airflow-db-0", 5432, airflow.port)
        with pytest.raises(UserError, match="has no table task_instance"):
            attach(there)


def test_a_server_that_refuses_us_is_no_matter_of_the_way_there(airflow: Airflow) -> None:
    wrong = airflow.url().replace(airflow.password, "another")
    with StandIn([*release(url=wrong), *database()]) as there:
        there.lead("airflow-db-0", 5432, airflow.port)
        with pytest.raises(UserError, match=r"refuses us: .*password authentication") as told:
            attach(there)
    assert "Look at the user, the password" in str(told.value)
    assert "Open a way" not in str(told.value)


@pytest.mark.usefixtures("told")
def test_a_role_that_may_not_see_whose_the_sessions_are_is_told_the_grant(airflow: Airflow) -> None:
    """It is not Airflow's own role: so the server does not say where its sessions come from."""
    dsn, grant = airflow.as_role(ROLE, "p:w"), f"GRANT pg_read_all_stats TO {QUOTED};"
    with StandIn(release()) as there, airflow.connect():
        core, found = CoreV1Api(there.client()), discover(there.client(), "airflow")
        identity, reason = told_apart(core, found, dsn)
        assert (identity, grant in reason) == ("", True)
        assert "which come from nobody" in reason
        airflow.superuser(grant)
        identity, reason = told_apart(core, found, dsn)
        assert (identity, "GRANT" in reason) == ("", False)
        assert "which come from 127.0.0.1: a pooler" in reason


def test_a_role_that_sees_its_own_sessions_lacks_no_grant(airflow: Airflow) -> None:
    own = airflow.as_role()
    with StandIn(release()) as there, psycopg.connect(own):
        core, found = CoreV1Api(there.client()), discover(there.client(), "airflow")
        identity, reason = told_apart(core, found, own)
    assert (identity, "GRANT" in reason) == ("", False)
    assert "which come from 127.0.0.1: a pooler" in reason
