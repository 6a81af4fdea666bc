"""The factory and the tasks inside real Airflows: what is parsed, and what the ledger gets."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from common.paths import cache_dir
from dags.shapes import Shape, dags
from lab.base import Airflow
from lab.embedded.postgres import Postgres, free_port
from lab.environments.pins import newest
from lab.environments.preparation import prepare
from lab.environments.settings import clean_environment
from tests.labs import at_night

DAGS = Path(__file__).resolve().parents[2] / "dags"
EVERY_SHAPE = (
    "issue_57618*2,many_groups:2x3,wide:4,deep,diamond,mapped:6,branching,sensors,deferrable,"
    "flaky,single,impatient,failing,serial,producer,publisher,consumer,gatherer,calling,daily"
)
"""But those that 3.0 cannot make: partitions, late, awaited."""

PARSE = """
import contextlib, inspect, io, json, sys
sys.path.append(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    from airflow.sdk.definitions._internal.dag_parsing_context import (
        _airflow_parsing_context_manager as parsing,
    )
    more = {"include_examples": False}
    if "include_examples" not in inspect.signature(DagBag).parameters:
        more = {}
    with parsing(dag_id=sys.argv[2] or None):
        bag = DagBag(sys.argv[1], **more)
def task(t):
    below = sorted(t.downstream_task_ids)
    rule = getattr(t.trigger_rule, "value", t.trigger_rule)
    return {"retries": t.retries, "rule": rule, "down": below}
print(json.dumps({
    "files": sorted({dag.fileloc.rpartition("/")[2] for dag in bag.dags.values()}),
    "errors": [text.strip().splitlines()[-1] for text in bag.import_errors.values()],
    "dags": {name: {
        "runs": dag.max_active_runs, "active": dag.max_active_tasks,
        "paused": dag.is_paused_upon_creation, "tasks": {t.task_id: task(t) for t in dag.tasks},
    } for name, dag in bag.dags.items()},
}))
"""

WORK = """
import json, sys
from types import SimpleNamespace as Record
sys.path.append(sys.argv[1])
import work
me = Record(dag_id="d", run_id="r", task_id="t", map_index=3, try_number=1, task=Record(retries=2))
try:
    print(getattr(work, sys.argv[2])(me, **json.loads(sys.argv[3])))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture(scope="module", params=[pytest.param("given", marks=at_night), "newest"])
def airflow(request: pytest.FixtureRequest) -> Airflow:
    """3.0.6 or what HA_CHAOS_TEST_PYTHON names, and the newest that is pinned."""
    if request.param == "newest":
        return prepare(newest())
    return prepare(os.environ.get("HA_CHAOS_TEST_PYTHON") or "3.0.6")


def run(airflow: Airflow, home: Path, code: str, *argv: str, **env: str) -> str:
    done = subprocess.run(
        [airflow.python, "-W", "ignore", "-c", code, DAGS, *argv],
        env={**clean_environment(airflow, home), **env},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def parse(airflow: Airflow, home: Path, only: str = "", **env: str) -> Any:
    env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{home}/airflow.db"
    return json.loads(run(airflow, home, PARSE, only, **env))


def downstream(shape: Shape) -> Mapping[str, list[str]]:
    """What the edges say, with groups spread over their tasks."""

    def tasks(name: str) -> list[str]:
        return [n.task_id for n in shape.nodes if name in (n.task_id, n.group)]

    found: dict[str, set[str]] = {node.task_id: set() for node in shape.nodes}
    for start, end in shape.edges:
        for task in tasks(start):
            found[task].update(tasks(end))
    return {task: sorted(below) for task, below in found.items()}


def test_every_shape_becomes_a_dag_of_its_tasks_and_edges(airflow: Airflow, tmp_path: Path) -> None:
    parsed = parse(airflow, tmp_path, HA_CHAOS_SHAPES=EVERY_SHAPE)
    assert parsed["errors"] == []
    assert parsed["files"] == ["factory.py"]
    wanted = dags(EVERY_SHAPE)
    assert set(parsed["dags"]) == set(wanted)
    for name, shape in wanted.items():
        made = parsed["dags"][name]
        assert {task: each["down"] for task, each in made["tasks"].items()} == downstream(shape)
        assert {each["retries"] for each in made["tasks"].values()} == {shape.retries}
        assert (made["runs"], made["paused"]) == (shape.max_active_runs, False)
        rules = {node.task_id: node.trigger_rule for node in shape.nodes}
        assert {task: each["rule"] for task, each in made["tasks"].items()} == rules


def test_a_worker_parses_only_the_dag_that_it_runs(airflow: Airflow, tmp_path: Path) -> None:
    parsed = parse(airflow, tmp_path, only="wide-4", HA_CHAOS_SHAPES=EVERY_SHAPE)
    assert list(parsed["dags"]) == ["wide-4"]


def test_the_environment_sets_retries_and_active_tasks(airflow: Airflow, tmp_path: Path) -> None:
    env = {"HA_CHAOS_RETRIES": "0", "HA_CHAOS_MAX_ACTIVE_TASKS": "5", "HA_CHAOS_SHAPES": "deep:2"}
    (made,) = parse(airflow, tmp_path, **env)["dags"].values()
    assert made["active"] == 5
    assert {each["retries"] for each in made["tasks"].values()} == {0}


def test_a_bad_variable_is_an_import_error_that_says_what_to_write(
    airflow: Airflow, tmp_path: Path
) -> None:
    parsed = parse(airflow, tmp_path, HA_CHAOS_SHAPES="wyde")
    (error,) = parsed["errors"]
    assert "HA_CHAOS_SHAPES: No shape is called 'wyde'; the shapes are issue_57618" in error
    assert parsed["dags"] == {}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A Postgres of our own; a temporary directory of pytest's would be closed to its user."""
    directory = cache_dir() / "tests" / uuid.uuid4().hex
    postgres = Postgres(directory)
    try:
        postgres.initialise()
        postgres.start()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def ledger(server: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA oracle")
        connection.execute(
            "CREATE TABLE oracle.audit (seq bigserial PRIMARY KEY, process text NOT NULL"
            " DEFAULT current_setting('application_name'), kind text NOT NULL, body jsonb NOT NULL)"
        )
        yield connection
        connection.execute("DROP SCHEMA IF EXISTS oracle CASCADE")


def rows(ledger: psycopg.Connection) -> list[tuple[str, str, str]]:
    found = ledger.execute("SELECT process, kind, body->>'op' FROM oracle.audit ORDER BY seq")
    return found.fetchall()


def work(airflow: Airflow, home: Path, task: str, ledger: str, **orders: object) -> str:
    """Call one of the tasks' functions as a worker does; return what it returned or raised."""
    env = {"HA_CHAOS_LEDGER": ledger, "HOSTNAME": "pod-1"}
    return run(airflow, home, WORK, task, json.dumps(orders), **env)


def test_a_task_writes_its_start_and_its_end(
    airflow: Airflow, tmp_path: Path, server: Postgres, ledger: psycopg.Connection
) -> None:
    assert work(airflow, tmp_path, "work", server.dsn(), sleep=0.01) == "None"
    assert rows(ledger) == [("task", "ledger", "start"), ("task", "ledger", "end")]
    (body,) = next(iter(ledger.execute("SELECT body FROM oracle.audit ORDER BY seq")))
    assert body.pop("pid") > 0
    identity = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 3, "try_number": 1}
    assert body == {"op": "start", "pod": "pod-1", **identity}


def test_a_try_that_fails_writes_fail_and_the_seed_says_which_do(
    airflow: Airflow, tmp_path: Path, server: Postgres, ledger: psycopg.Connection
) -> None:
    said = [work(airflow, tmp_path, "flaky", server.dsn(), seed=seed) for seed in range(4)]
    assert said == [work(airflow, tmp_path, "flaky", server.dsn(), seed=seed) for seed in range(4)]
    assert {text.partition(":")[0] for text in said} == {"None", "FlakyError"}
    ends = [op for _, _, op in rows(ledger) if op != "start"]
    assert ends == ["end" if text == "None" else "fail" for text in said * 2]


def test_skipping_is_an_end(
    airflow: Airflow, tmp_path: Path, server: Postgres, ledger: psycopg.Connection
) -> None:
    assert work(airflow, tmp_path, "skip", server.dsn()).startswith("AirflowSkipException")
    assert [op for _, _, op in rows(ledger)] == ["start", "end"]


def test_a_branch_follows_one_of_its_choices_by_the_seed(airflow: Airflow, tmp_path: Path) -> None:
    choices = ["a", "b"]
    followed = [
        work(airflow, tmp_path, "branch", "", choices=choices, seed=seed) for seed in range(6)
    ]
    assert set(followed) == set(choices)


def test_only_the_poke_that_ends_a_sensor_is_in_the_ledger(
    airflow: Airflow, tmp_path: Path, server: Postgres, ledger: psycopg.Connection
) -> None:
    poked = [
        work(airflow, tmp_path, "reschedule", server.dsn(), pokes=1, task_reschedule_count=count)
        for count in (0, 1)
    ]
    assert poked == ["False", "True"]
    assert [op for _, _, op in rows(ledger)] == ["start", "end"]


def test_without_a_ledger_or_its_table_the_task_goes_on(
    airflow: Airflow, tmp_path: Path, server: Postgres
) -> None:
    assert work(airflow, tmp_path, "work", "") == "None"
    assert work(airflow, tmp_path, "work", server.dsn()) == "None"


@pytest.mark.parametrize(
    ("conninfo", "says"),
    [
        ("host=127.0.0.1 port={free} user=u password=secret", "The ledger cannot be reached:"),
        ("{dsn} password=secret", "The ledger cannot be reached:"),
        ("secret", "is not a libpq connection string."),
    ],
)
def test_a_ledger_that_cannot_be_reached_fails_the_task_with_one_line(
    airflow: Airflow, tmp_path: Path, server: Postgres, conninfo: str, says: str
) -> None:
    full = conninfo.format(free=free_port(), dsn=server.dsn())
    said = work(airflow, tmp_path, "work", full)
    assert said.startswith("LedgerError: ")
    assert says in said
    assert "secret" not in said


def test_a_ledger_that_refuses_fails_the_task_with_one_line(
    airflow: Airflow, tmp_path: Path, server: Postgres, ledger: psycopg.Connection
) -> None:
    ledger.execute("ALTER TABLE oracle.audit ADD CHECK (body->>'op' <> 'end')")
    said = work(airflow, tmp_path, "work", server.dsn())
    assert said.startswith("LedgerError: The ledger took no 'end' row:")
    assert "check constraint" in said
