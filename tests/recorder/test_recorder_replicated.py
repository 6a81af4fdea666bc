"""Nothing of ours is replicated, and what a crash takes from the audit for that is told."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chaos.holds import installer as statement
from lab.embedded.postgres import SUPERUSER, Postgres
from recorder import audit
from tests.recorder.tables import Recording, add_task, installed, make_database, set_state

PUBLISHED = "CREATE PUBLICATION everything FOR ALL TABLES"
DECODED = "SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"


@pytest.fixture(scope="module")
def logical() -> Iterator[Postgres]:
    """Run a server that decodes its WAL, as one with subscribers does."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    directory.chmod(0o755)
    server = Postgres(directory)
    server.initialise()
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write("wal_level = logical\n")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def published(logical: Postgres) -> Iterator[psycopg.Connection]:
    """Make a database with subscribers of all its tables; lend a superuser's connection to it."""
    name = str(psycopg.conninfo.conninfo_to_dict(make_database(logical))["dbname"])
    with psycopg.connect(logical.dsn(SUPERUSER, name), autocommit=True) as connection:
        connection.execute(PUBLISHED)
        connection.execute(DECODED.format(name=name).encode())
        yield connection
    with psycopg.connect(logical.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def dsn_of(server: Postgres, connection: psycopg.Connection) -> str:
    return server.dsn(database=connection.info.dbname)


def sent_to(subscriber: psycopg.Connection) -> bytes:
    """Return what who subscribes to everything would be sent."""
    sent = subscriber.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, "
        "'proto_version', '1', 'publication_names', 'everything')",
        (subscriber.info.dbname,),
    ).fetchall()
    return b"".join(bytes(row[0]) for row in sent)


def test_a_subscriber_of_all_tables_gets_airflows_changes_and_none_of_ours(
    logical: Postgres, published: psycopg.Connection
) -> None:
    dsn = dsn_of(logical, published)
    statement.install(dsn)
    audit.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as scheduler:
        add_task(scheduler, "t")
        set_state(scheduler, "t", "queued")
        scheduler.execute(
            "INSERT INTO chaos.rule (key, process, relation, statement) VALUES (1, 'p', 'dag', 's')"
        )
    audit.remove(dsn)
    statement.remove(dsn)
    told = sent_to(published)
    assert b"task_instance" in told
    assert b"queued" in told
    for ours in (b"oracle", b"chaos", b"proof"):
        assert ours not in told


def test_a_crash_that_empties_the_audit_is_a_gap(
    logical: Postgres, published: psycopg.Connection
) -> None:
    dsn = dsn_of(logical, published)
    audit.install(dsn)
    recording = Recording(dsn)
    with psycopg.connect(dsn, autocommit=True) as scheduler:
        add_task(scheduler, "t")
    logical.stop("immediate")
    logical.start()
    with psycopg.connect(dsn, autocommit=True) as scheduler:
        set_state(scheduler, "t", "queued")
    recording.reader.finish(5.0)
    assert "crashed" in recording.stream.gaps[0]
    assert not installed(dsn)
    audit.install(dsn)
    assert installed(dsn), "the next run has a whole one"


def test_in_a_database_of_our_own_the_audit_may_outlive_a_crash(postgres: Postgres) -> None:
    dsn = make_database(postgres)
    for survives, kinds in ((True, [("p",)]), (False, [("u",)]), (True, [("p",)])):
        audit.install(dsn, survives=survives)
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "SELECT DISTINCT relpersistence::text FROM pg_class "
                "WHERE relnamespace = to_regnamespace('oracle') AND relkind IN ('r', 'S')"
            ).fetchall()
        assert found == kinds


def test_who_subscribes_during_an_observation_gets_none_of_ours_either(logical: Postgres) -> None:
    dsn = make_database(logical)
    name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
    audit.install(dsn)
    recording = Recording(dsn)
    with psycopg.connect(logical.dsn(SUPERUSER, name), autocommit=True) as connection:
        connection.execute(PUBLISHED)
        connection.execute(DECODED.format(name=name).encode())
        with psycopg.connect(dsn, autocommit=True) as scheduler:
            add_task(scheduler, "t")
            set_state(scheduler, "t", "queued")
        assert len(recording.poll()) == 2
        recording.reader.finish(5.0)
        audit.remove(dsn)
        copied = connection.execute("SELECT schemaname FROM pg_publication_tables").fetchall()
        sent = sent_to(connection)
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    assert recording.stream.gaps == []
    assert {row[0] for row in copied} == {"public"}
    assert b"queued" in sent
    assert b"oracle" not in sent
