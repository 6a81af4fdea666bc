"""The audit in databases that real Airflow migrated: of every release, and while it is upgraded."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from packaging.version import Version

from lab.base import Airflow
from lab.embedded.postgres import Postgres, template_for
from lab.environments import pins
from lab.environments.preparation import prepare
from lab.environments.settings import clean_environment, database_urls
from oracle.events import TaskInstanceEvent
from recorder import audit
from tests.labs import at_night
from tests.recorder.tables import Connection, Recording, add_task, installed, set_state
from tests.recorder.test_recorder_audit import catalogs

NEXT = "3.4.0b2"
VERSIONS = sorted({*pins.pinned(), NEXT}, key=Version)


@contextmanager
def migrated(airflow: Airflow) -> Iterator[tuple[Postgres, Connection]]:
    """Run a server with a database of this Airflow's; lend it, and a scheduler's connection."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    directory.chmod(0o755)
    server = Postgres(directory / "server")
    try:
        server.clone_from(template_for(airflow))
        server.start()
        with psycopg.connect(
            server.dsn(), autocommit=True, application_name="scheduler-1"
        ) as scheduler:
            scheduler.execute(
                "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
                "VALUES ('d', 'r', 'running', 'manual', now())"
            )
            yield server, scheduler
    finally:
        server.stop()
        shutil.rmtree(directory)


def migrate(airflow: Airflow, server: Postgres) -> None:
    home = server.directory / f"home-{airflow.version}"
    home.mkdir()
    done = subprocess.run(
        [str(airflow.python), "-m", "airflow", "db", "migrate"],
        env=clean_environment(airflow, home)
        | database_urls(airflow, server.port, server.password, "migration"),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_every_release_is_recorded_and_left_as_it_was(version: str) -> None:
    with migrated(prepare(version)) as (server, scheduler):
        before = catalogs(server.dsn())
        audit.rehearse(server.dsn())
        assert catalogs(server.dsn()) == before
        audit.install(server.dsn())
        recording = Recording(server.dsn())
        wanted = "row-per-task" if Version(version) < Version("3.4.0a1") else None
        assert recording.reader.model == (wanted or "row-per-attempt")
        add_task(scheduler, "t", "scheduled")
        set_state(scheduler, "t", "queued")
        scheduler.execute("UPDATE task_instance SET last_heartbeat_at = now()")
        scheduler.execute("DELETE FROM dag_run")
        told = [each for each in recording.poll() if isinstance(each, TaskInstanceEvent)]
        assert [each.op for each in told] == ["insert", "update", "delete"]
        recording.reader.finish(5.0)
        assert recording.stream.gaps == []
        audit.remove(server.dsn())
        assert catalogs(server.dsn()) == before


@pytest.mark.parametrize(
    ("old", "new"), [pytest.param("3.1.8", "3.3.2", marks=at_night), ("3.3.2", NEXT)]
)
def test_airflow_is_upgraded_under_it_and_goes_on_and_the_history_has_a_gap(
    old: str, new: str
) -> None:
    with migrated(prepare(old)) as (server, scheduler):
        for name, state in (("a", "running"), ("b", "up_for_retry"), ("c", "success")):
            add_task(scheduler, name, state)
        scheduler.execute("UPDATE task_instance SET try_number = 1")
        audit.install(server.dsn())
        recording = Recording(server.dsn())
        set_state(scheduler, "a", "queued")
        migrate(prepare(new), server)
        scheduler.execute("UPDATE task_instance SET last_heartbeat_at = now()")
        set_state(scheduler, "a", "running")
        with psycopg.connect(server.dsn(), autocommit=True) as fresh:
            set_state(fresh, "a", "success")
        recording.reader.finish(5.0)
        assert any("changed under the recorder" in gap for gap in recording.stream.gaps)
        assert not installed(server.dsn())
        audit.install(server.dsn())
        recording = Recording(server.dsn())
        set_state(scheduler, "a", "failed")
        assert len(recording.poll()) == 1
        recording.reader.finish(5.0)
        assert recording.stream.gaps == []
