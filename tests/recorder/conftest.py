"""A real PostgreSQL for the recorder's tests."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lab.embedded.postgres import Postgres
from recorder import audit
from tests.recorder.tables import Connect, Connection, Recording, make_database


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run one server for all tests; its folder is one that PostgreSQL's user can pass."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    directory.chmod(0o755)
    server = Postgres(directory)
    server.initialise()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    """Make a database of the owner's, with Airflow's tables and no audit."""
    return make_database(postgres)


@pytest.fixture
def connect(dsn: str) -> Iterator[Connect]:
    """Return what connects to the database under a process' name; closes all at the end."""
    opened: list[Connection] = []

    def connection(process: str = "scheduler-1", autocommit: bool = True) -> Connection:
        opened.append(psycopg.connect(dsn, application_name=process, autocommit=autocommit))
        return opened[-1]

    yield connection
    for each in opened:
        each.close()


@pytest.fixture
def recording(dsn: str) -> Iterator[Recording]:
    """Install the audit and begin to read it."""
    audit.install(dsn)
    recording = Recording(dsn)
    yield recording
    recording.reader.close()
