"""Fixtures: a real PostgreSQL, and in it a database of Airflow's for each test."""

import itertools
import os
from collections.abc import Iterator

import pytest

from lab.embedded.postgres import Postgres
from tests.deployment.airflow import Airflow, api_server
from tests.recorder.conftest import postgres as postgres

_numbers = itertools.count()


@pytest.fixture
def airflow(postgres: Postgres) -> Iterator[Airflow]:
    """Make a database of the owner's, with Airflow's tables and nothing of ours."""
    made = Airflow(postgres, f"deployed_{os.getpid()}_{next(_numbers)}").create()
    yield made
    made.drop()


@pytest.fixture(scope="session")
def api() -> Iterator[int]:
    """Return the port of an API that says what version it is."""
    with api_server() as port:
        yield port
