"""What the recorder's tests share: Airflow's two tables, and a reader that is polled by hand."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from lab.embedded.postgres import OWNER, SUPERUSER, Postgres
from oracle.events import Event
from recorder import audit
from recorder.database import DatabaseReader
from recorder.stream import DatabaseClock, Stream

TABLES = Path(__file__).with_name("tables.sql").read_text()
SETTINGS = Path(__file__).with_name("waiting.sql").read_text()
_numbers = count()

Connection = psycopg.Connection[Any]
Connect = Callable[..., Connection]


def make_database(postgres: Postgres) -> str:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres.dsn(SUPERUSER, SUPERUSER), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    dsn = postgres.dsn(database=name)
    with psycopg.connect(dsn) as connection:
        connection.execute(TABLES.encode())
        connection.execute(SETTINGS.encode())
        connection.execute(
            "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
            "VALUES ('d', 'r', 'running', 'manual', now())"
        )
    return dsn


def installed(dsn: str) -> bool:
    """Tell whether the audit is installed and switched on. Raises AuditError."""
    try:
        with psycopg.connect(dsn) as connection:
            return audit.fault(connection) is None
    except psycopg.errors.UndefinedTable:
        return False  # somebody removes it at this moment
    except psycopg.Error as error:
        raise audit.AuditError(f"the audit cannot be looked for: {error}") from error


def add_task(connection: Connection, task_id: str, state: str | None = None) -> None:
    connection.execute(
        "INSERT INTO task_instance (id, task_id, dag_id, run_id, state, try_number, pool, "
        "pool_slots) VALUES (gen_random_uuid(), %s, 'd', 'r', %s, 0, 'default_pool', 1)",
        (task_id, state),
    )


def set_state(connection: Connection, task_id: str, state: str) -> None:
    connection.execute("UPDATE task_instance SET state = %s WHERE task_id = %s", (state, task_id))


class Recording:
    """A database reader with nothing around it, polled by hand."""

    def __init__(self, dsn: str) -> None:
        self.clock = DatabaseClock()
        self.stream = Stream(self.clock.now)
        self.reader = DatabaseReader(lambda: dsn, self.clock, self.stream)
        self.reader.open()
        self._known, self.seen = self.stream.after(0)

    def poll(self) -> list[Event]:
        """Poll once, and return the events of that poll."""
        self.reader.poll()
        self._known, events = self.stream.after(self._known)
        return events
