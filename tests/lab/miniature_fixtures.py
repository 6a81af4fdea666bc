"""Fixtures: a PostgreSQL of the tests' own, and in it a database for each test."""

import shutil
import uuid
from collections.abc import Iterator

import pytest

from common.paths import cache_dir
from lab.embedded.postgres import OWNER, Postgres
from tests.lab.miniature import Process, create, superuser

_TEMPLATE = "miniature"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    directory = cache_dir() / "tests" / uuid.uuid4().hex
    server = Postgres(directory)
    try:
        server.initialise()
        server.start()
        superuser(server, f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
        create(server.dsn(database=_TEMPLATE))
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The name of a database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    superuser(postgres, f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {_TEMPLATE}")
    yield name
    superuser(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def dsn(postgres: Postgres, database: str) -> str:
    """Conninfo of the test's own database, as its ordinary owner."""
    return postgres.dsn(database=database)


@pytest.fixture
def scheduler_1(dsn: str) -> Process:
    return Process(dsn, "scheduler-1")


@pytest.fixture
def scheduler_2(dsn: str) -> Process:
    return Process(dsn, "scheduler-2")
