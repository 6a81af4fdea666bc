"""A real PostgreSQL with Airflow's tables in miniature, for the tests of what acts inside it."""

import re
import threading
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from lab.base import Lab
from lab.embedded.postgres import SUPERUSER, Postgres

_HERE = Path(__file__).parent

RUNNING = {v: (_HERE / "statements" / f"running-{v}.sql").read_text() for v in ("3.0.6", "3.3.2")}
QUEUED = {v: (_HERE / "statements" / f"queued-{v}.sql").read_text() for v in ("3.0.6", "3.3.2")}


class Process:
    """One Airflow process' connection, told apart by its application_name."""

    def __init__(self, dsn: str, name: str) -> None:
        self.connection = psycopg.connect(
            dsn, application_name=name, autocommit=True, row_factory=dict_row
        )
        self.rows: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self._thread: threading.Thread | None = None

    def run(self, statement: str) -> list[dict[str, Any]]:
        """Run a statement to its end."""
        cursor = self.connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def begin(self, statement: str) -> None:
        """Run a statement in the background."""

        def run() -> None:
            try:
                self.rows = self.run(statement)
            except psycopg.Error as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def ended(self, timeout: float) -> bool:
        """Tell whether the background's statement ends within `timeout` seconds."""
        assert self._thread is not None
        self._thread.join(timeout)
        return not self._thread.is_alive()


def create(dsn: str) -> None:
    """Create the tables, with every column that a statement under test names."""
    with psycopg.connect(dsn) as connection:
        connection.execute((_HERE / "miniature.sql").read_text())
        for statement in (*RUNNING.values(), *QUEUED.values()):
            _add_columns(connection, statement)


def _add_columns(connection: psycopg.Connection, statement: str) -> None:
    named = re.findall(r"\b(dag_run|task_instance)(?:_1)?\.(\w+)", statement)
    for table, column in sorted(set(named)):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} text")


def superuser(server: Postgres, statement: str, database: str = SUPERUSER) -> None:
    """Run a statement that the owner may not run."""
    with psycopg.connect(server.dsn(SUPERUSER, database), autocommit=True) as connection:
        connection.execute(statement)


class _Parts:
    """What the faults under test use of a lab: real parts, no whole lab."""

    def __init__(self, dsn: str, proxy_control: str) -> None:
        self._dsn = dsn
        self.proxy_control = proxy_control

    def dsn(self) -> str:
        return self._dsn

    def process(self, role: str) -> str:
        return role


def lab(dsn: str = "", proxy_control: str = "") -> Lab:
    """Return those parts of a lab that faults of the database and its links need."""
    return cast(Lab, _Parts(dsn, proxy_control))
