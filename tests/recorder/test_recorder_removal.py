"""What we put into a database goes, though the password has expired or we were killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import yaml

from chaos.holds import installer as statement
from common.errors import UserError
from common.paths import PROJECT, labs_dir
from lab.base import Airflow
from lab.cluster import undo
from lab.cluster.lab import ClusterLab
from lab.cluster.routes import Route
from lab.cluster.url import Database
from lab.embedded.postgres import OWNER, SUPERUSER, Postgres, binaries
from lab.ending import reap
from lab.spec import Attachment, LabSpec, write_request
from lab.state import LabState
from lab.undo import Undo, leftovers
from recorder import audit
from run.keeper import REMOVALS, Keeper, try_installing
from tests.labs import eventually
from tests.recorder.pgbouncer import PROGRAM, pgbouncer
from tests.recorder.tables import installed
from tests.recorder.test_recorder_audit import catalogs


@pytest.fixture
def expire(postgres: Postgres) -> Iterator[Callable[[], None]]:
    """Return what makes the owner's password another than everybody knows; mends it at the end."""

    def change(password: str) -> None:
        with psycopg.connect(postgres.dsn(SUPERUSER, SUPERUSER), autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {OWNER} PASSWORD '{password}'".encode())

    yield lambda: change("another")
    change(postgres.password)


def as_superuser(postgres: Postgres, dsn: str) -> str:
    return postgres.dsn(SUPERUSER, str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))


def test_a_password_that_expired_does_not_keep_the_removal_from_working(
    postgres: Postgres, dsn: str, expire: Callable[[], None], tmp_path: Path
) -> None:
    before = catalogs(dsn)
    undo.promise(tmp_path, REMOVALS)
    keeper = Keeper(dsn, tmp_path)
    audit.install(dsn)
    statement.install(dsn)
    assert eventually(lambda: sessions(postgres, dsn) > 0)
    expire()
    with pytest.raises(audit.AuditError, match="password authentication failed"):
        audit.remove(dsn)
    assert keeper.remove() is None
    assert catalogs(as_superuser(postgres, dsn)) == before
    assert not undo.is_promised(tmp_path)
    assert Undo(tmp_path).run() == 0, "what was done is struck out"
    keeper.close()


def sessions(postgres: Postgres, dsn: str) -> int:
    with psycopg.connect(as_superuser(postgres, dsn)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'chaos' AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def end_sessions(postgres: Postgres, dsn: str) -> None:
    with psycopg.connect(as_superuser(postgres, dsn), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'chaos' AND datname = current_database()"
        )


def test_a_process_that_was_killed_leaves_nothing(
    postgres: Postgres, dsn: str, expire: Callable[[], None], tmp_path: Path
) -> None:
    script = (
        "import os, sys; from pathlib import Path; from run.keeper import Keeper; "
        "Keeper(os.environ['DSN'], Path(sys.argv[1])); sys.stdin.read()"
    )
    undo.promise(tmp_path, REMOVALS)
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "DSN": dsn},
        stdin=subprocess.PIPE,
    )
    assert eventually(lambda: sessions(postgres, dsn) > 0)
    audit.install(dsn)
    statement.install(dsn)
    expire()
    owner.kill()
    owner.wait()
    assert eventually(lambda: not installed(as_superuser(postgres, dsn)))
    assert eventually(lambda: sessions(postgres, dsn) == 0)
    assert not statement.installed(as_superuser(postgres, dsn))
    assert not undo.is_promised(tmp_path)


def test_a_lost_connection_is_made_anew(postgres: Postgres, dsn: str, tmp_path: Path) -> None:
    keeper = Keeper(dsn, tmp_path)
    assert eventually(lambda: sessions(postgres, dsn) > 0)
    end_sessions(postgres, dsn)
    audit.install(dsn)
    outcomes = [keeper.remove(), keeper.remove()]
    assert outcomes[-1] is None, "the first may be what notices the loss"
    assert not installed(dsn)
    keeper.close()


def test_why_it_cannot_be_removed_is_one_line(dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE SCHEMA oracle")
    undo.promise(tmp_path, REMOVALS)
    keeper = Keeper(dsn, tmp_path)
    assert "schema `oracle` that is not ours" in (keeper.remove() or "")
    assert undo.is_promised(tmp_path)
    keeper.close()


def test_a_schema_chaos_of_somebody_else_is_nothing_that_is_left(dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA chaos")
        keeper = Keeper(dsn, tmp_path)
        assert keeper.remove() is None
        keeper.close()
        command = [sys.executable, "-m", "chaos", "remove"]
        env = {**os.environ, "HA_CHAOS_DSN": dsn}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (0, 1)
        row = connection.execute("SELECT to_regnamespace('chaos') IS NOT NULL").fetchone()
    assert row == (True,)


def attached(folder: Path, database: Database) -> None:
    """Write what an attached lab's folder holds; its cluster does not answer any more."""
    state = LabState(phase="ready")
    state.endpoints = {
        "namespace": "n",
        "release": "r",
        "database": asdict(database),
        "route": asdict(Route(*database.hosts[0])),
        "postgres": None,
    }
    state.save(folder)
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"current-context": "c", "clusters": [cluster], "contexts": [context]}
    (folder / "kubeconfig").write_text(
        yaml.safe_dump(config | {"users": [{"name": "u", "user": {}}]})
    )


def database_of(dsn: str) -> Database:
    said = psycopg.conninfo.conninfo_to_dict(dsn)
    name, user, password = (str(said[key]) for key in ("dbname", "user", "password"))
    return Database(str(said["host"]), int(str(said["port"])), name, user, password)


@pytest.mark.parametrize("written", [True, False])
def test_what_stays_is_told_with_the_command_that_removes_it_until_it_is_gone(
    postgres: Postgres,
    dsn: str,
    tmp_path: Path,
    expire: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    written: bool,
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    lab = tmp_path / "3.0.6-abcd"
    lab.mkdir()
    attached(lab, database_of(dsn))
    if written:
        undo.promise(lab, [REMOVALS[1]])
    audit.install(dsn)
    expire()
    monkeypatch.chdir(PROJECT)
    assert undo.main([str(lab), "clear"]) == 1
    told = "\n".join(leftovers())
    assert postgres.password not in told
    command = told.partition("  ")[2].replace(".venv/bin/python", sys.executable)
    assert "recorder remove" in command
    assert ("chaos remove" in command) != written, "an older version did not write down what"
    env = {**os.environ, "PGPASSWORD": "another"}
    done = subprocess.run(["sh", "-c", command], cwd=PROJECT, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not installed(as_superuser(postgres, dsn))
    assert leftovers() == []


@pytest.mark.parametrize("other", [False, True])
def test_a_new_password_is_taken_from_where_it_is_told_and_never_another_database(
    postgres: Postgres,
    dsn: str,
    tmp_path: Path,
    expire: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    other: bool,
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(PROJECT)
    lab = tmp_path / "3.0.6-abcd"
    lab.mkdir()
    stored = database_of(dsn)
    attached(lab, replace(stored, name="gone") if other else stored)
    audit.install(dsn)
    expire()
    url = f"postgresql://{OWNER}:another@{stored.host}:{stored.port}/{stored.name}"
    monkeypatch.setenv("HA_CHAOS_DATABASE_URL", url)
    assert undo.main([str(lab), "clear"]) == int(other)
    assert installed(as_superuser(postgres, dsn)) == other
    assert bool(leftovers()) == other


def test_a_connection_that_was_lost_is_made_anew_with_the_password_of_now(
    postgres: Postgres, dsn: str, tmp_path: Path, expire: Callable[[], None]
) -> None:
    """The supervisor has read it again meanwhile; who removes has no other way to learn it."""
    attached(tmp_path, database_of(dsn))
    undo.promise(tmp_path, REMOVALS)
    keeper = Keeper(dsn, tmp_path)
    audit.install(dsn)
    assert eventually(lambda: sessions(postgres, dsn) > 0)
    expire()
    attached(tmp_path, replace(database_of(dsn), password="another"))
    end_sessions(postgres, dsn)
    outcomes = [keeper.remove(), keeper.remove()]
    assert outcomes[-1] is None
    assert not installed(as_superuser(postgres, dsn))
    keeper.close()


def test_no_idle_timeout_ends_the_session_that_removes(
    postgres: Postgres, dsn: str, tmp_path: Path
) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(as_superuser(postgres, dsn), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '200ms'".encode())
    keeper = Keeper(dsn, tmp_path)
    assert eventually(lambda: sessions(postgres, dsn) > 0)
    time.sleep(0.6)
    assert sessions(postgres, dsn) == 1
    keeper.close()


def left_behind(folder: Path, dsn: str) -> Path:
    """Return a lab whose owner is gone, with something to remove where no database answers."""
    lab = labs_dir() / "3.0.6-abcd"
    lab.mkdir()
    attachment = Attachment(str(folder / "kubeconfig"), "c", "airflow", "airflow")
    write_request(lab, LabSpec(Airflow("3.0.6", "3.0.6"), attachment=attachment), None)
    attached(lab, replace(database_of(dsn), port=1))
    undo.promise(lab, [REMOVALS[1]])
    return lab


def test_a_database_that_was_not_there_is_tried_again_by_the_sessions_of_the_next_days(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    lab = left_behind(tmp_path, dsn)
    audit.install(dsn)
    assert reap() == 0
    assert "recorder remove" in "\n".join(leftovers())
    attached(lab, database_of(dsn))
    assert reap() == 1
    assert not installed(dsn)
    assert leftovers() == []
    assert not lab.exists()


def test_a_deployment_that_is_gone_for_good_is_not_tried_for_ever(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lab.cluster.boot._TRYING", 0.0)
    left_behind(tmp_path, dsn)
    assert reap() == 1
    assert leftovers() != [], "who looks after it has the command"


def test_a_backup_fails_while_rules_stand_and_works_again_after(dsn: str) -> None:
    def dump(*more: str) -> int:
        command = [str(binaries() / "pg_dump"), "-d", dsn, "-f", os.devnull, *more]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert dump() == 0
    audit.install(dsn)
    assert dump() == 0, "the recorder alone hinders no backup"
    statement.install(dsn)
    assert dump() != 0
    assert dump("--enable-row-security") == 0
    statement.remove(dsn)
    assert dump() == 0


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
def test_attaching_through_a_transaction_pooler_is_refused_before_anything_is_done(
    dsn: str,
) -> None:
    before = catalogs(dsn)
    with (
        pgbouncer(dsn, "transaction") as through,
        pytest.raises(UserError, match="shares its sessions by the transaction") as caught,
    ):
        try_installing(through, "airflow at pooler")
    assert "Nothing was changed" in (caught.value.hint or "")
    assert catalogs(dsn) == before


def test_attaching_to_a_release_with_other_columns_is_refused_by_their_names(dsn: str) -> None:
    assert try_installing(dsn, "airflow at db") == OWNER
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE task_instance RENAME map_index TO elsewhere")
    with pytest.raises(UserError, match=r"it has no task_instance\.map_index"):
        try_installing(dsn, "airflow at db")


@pytest.mark.parametrize("draining", [False, True])
def test_a_dag_that_a_killed_session_had_paused_goes_on(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draining: bool
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "3.3.2-abcd"
    folder.mkdir()
    attached(folder, database_of(dsn))
    more = ", is_draining boolean DEFAULT true" if draining else ""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS dag CASCADE")
        connection.execute(f"CREATE TABLE dag (dag_id text, is_paused boolean{more})".encode())
        connection.execute("INSERT INTO dag VALUES ('ours', true), ('theirs', true)")
        asked: list[tuple[str, bool]] = []
        api = SimpleNamespace(pause_dag=lambda dag_id, paused: asked.append((dag_id, paused)))
        lab: Any = SimpleNamespace(directory=folder, undo=Undo(folder), api=api)

        ClusterLab.pausing(lab, "ours")()
        assert (asked, Undo(folder).run()) == ([("ours", False)], 0), "what was done is struck out"

        ClusterLab.pausing(lab, "ours")  # and the session is killed
        assert Undo(folder).run() == 1
        rows = connection.execute("SELECT * FROM dag ORDER BY dag_id DESC").fetchall()
    assert rows == [("theirs", True, True)[: 2 + draining], ("ours", False, False)[: 2 + draining]]
    assert undo.main([str(folder), "unpause", "gone"]) == 1
