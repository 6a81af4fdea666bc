"""What is behind a release that nothing runs: a real database, played rows, an API's version."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lab.embedded.postgres import OWNER, SUPERUSER, Postgres
from tests.deployment.release import pod
from tests.deployment.standin import StandIn

VERSION = "3.0.6"

_TABLES = tuple(
    (Path(__file__).parents[1] / "recorder" / name).read_text()
    for name in ("tables.sql", "waiting.sql")
)
_JOB = """
    CREATE TABLE job (id serial PRIMARY KEY, job_type varchar(30), state varchar(20),
        latest_heartbeat timestamptz, hostname varchar(500));
"""


class Airflow:
    """Airflow's database under one server, and what plays its schedulers and workers there."""

    def __init__(self, server: Postgres, name: str, *, schema: str = "public") -> None:
        self._server = server
        self.name = name
        self.schema = schema

    def create(self) -> "Airflow":
        """Make the database, its owner's, with Airflow's tables in the schema."""
        self.drop()
        self.superuser(f'CREATE DATABASE "{self.name}" OWNER {OWNER}', database=SUPERUSER)
        with self.connect() as connection:
            schema = sql.Identifier(self.schema)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            connection.execute(sql.SQL("SET search_path TO {}").format(schema))
            for script in (*_TABLES, _JOB):
                connection.execute(script.encode())
        return self

    def drop(self) -> None:
        """Have it no more, whoever is connected."""
        self.superuser(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)', database=SUPERUSER)

    @property
    def port(self) -> int:
        """Return where the server listens."""
        return self._server.port

    @property
    def password(self) -> str:
        """Return the owner's password."""
        return self._server.password

    @property
    def dsn(self) -> str:
        """Return conninfo in the owner's rights, whatever password it has got meanwhile."""
        return self._server.dsn(SUPERUSER, self.name, options=f"-c role={OWNER}")

    def as_role(self, role: str = OWNER, password: str = "") -> str:
        """Return conninfo as a role logs in, the owner unless told otherwise."""
        return make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=role,
            dbname=self.name,
            password=password or self.password,
        )

    def url(self, host: str = "airflow-db", port: int = 5432, query: str = "") -> str:
        """Return the URL that the release has."""
        name = quote(self.name)
        return f"postgresql://{OWNER}:{self.password}@{host}:{port}/{name}{query}"

    def connect(self, **more: Any) -> "psycopg.Connection[Any]":
        """Connect as the owner, in autocommit mode."""
        return psycopg.connect(self.dsn, autocommit=True, **more)

    def session(self, process: str) -> "psycopg.Connection[Any]":
        """Connect as a process of Airflow's, which finds its tables in the schema."""
        connection = self.connect(application_name=process)
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self.schema)))
        return connection

    def connect_as_superuser(self, database: str = "") -> "psycopg.Connection[Any]":
        """Connect as whoever may do anything, in autocommit mode."""
        where = self._server.dsn(SUPERUSER, database or self.name)
        return psycopg.connect(where, autocommit=True)

    def superuser(self, *statements: str, database: str = "") -> None:
        """Run what the owner may not."""
        with self.connect_as_superuser(database) as connection:
            for each in statements:
                connection.execute(each.encode())

    def has(self, *schemas: str) -> bool:
        """Tell whether the database has one of these schemas."""
        with self.connect() as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)", (list(schemas),)
            ).fetchone()
        return found != (0,)


@contextlib.contextmanager
def api_server(version: str = VERSION) -> Iterator[int]:
    """Answer what version it is, as Airflow's API server does; yield the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/v2/version"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"version": version}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Player(threading.Thread):
    """Plays what Airflow does, until `stop`: runs begin and end, a worker pod for each task."""

    def __init__(self, airflow: Airflow, there: StandIn, *, every: float = 0.3) -> None:
        super().__init__(daemon=True)
        self._airflow = airflow
        self._there = there
        self._every = every
        self._over = threading.Event()
        self.played = 0

    def stop(self) -> None:
        """End after the run that is on."""
        self._over.set()
        self.join()

    def run(self) -> None:
        names = ("airflow-scheduler-1", "airflow-scheduler-2")
        with contextlib.ExitStack() as opened:
            *schedulers, worker = (
                opened.enter_context(self._airflow.session(name))
                for name in (*names, "airflow-api-server-1")
            )
            for connection, name in zip(schedulers, names, strict=True):
                connection.execute(
                    "INSERT INTO job (job_type, state, latest_heartbeat, hostname) "
                    "VALUES ('SchedulerJob', 'running', now(), %s)",
                    (name,),
                )
            while not self._over.wait(self._every):
                self._play(schedulers[self.played % 2], worker)
                self.played += 1

    def _play(
        self, scheduler: "psycopg.Connection[Any]", worker: "psycopg.Connection[Any]"
    ) -> None:
        run = f"played-{self.played}"
        scheduler.execute("UPDATE job SET latest_heartbeat = now()")
        scheduler.execute(
            "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after) "
            "VALUES ('d', %s, 'running', 'manual', now())",
            (run,),
        )
        scheduler.execute(
            "INSERT INTO task_instance (id, task_id, dag_id, run_id, try_number, max_tries, pool, "
            "pool_slots) VALUES (gen_random_uuid(), 't', 'd', %s, 0, 0, 'default_pool', 1)",
            (run,),
        )
        self._state(scheduler, run, "scheduled", tries=1)
        self._state(scheduler, run, "queued")
        self._pod(run, "Pending")
        self._pod(run, "Running")
        self._state(worker, run, "running")
        time.sleep(self._every / 10)
        self._state(worker, run, "success")
        scheduler.execute(
            "UPDATE dag_run SET state = 'success', end_date = now() WHERE run_id = %s", (run,)
        )
        self._pod(run, "Succeeded")
        self._there.remove("Pod", f"d-t-{run}")

    def _state(
        self, connection: "psycopg.Connection[Any]", run: str, state: str, tries: int = 0
    ) -> None:
        connection.execute(
            "UPDATE task_instance SET state = %s, try_number = try_number + %s WHERE run_id = %s",
            (state, tries, run),
        )

    def _pod(self, run: str, phase: str) -> None:
        labels = {"kubernetes_executor": "True", "airflow-worker": "1", "release": "airflow"}
        named = {"dag_id": "d", "task_id": "t", "run_id": run, "try_number": "1"}
        worker = pod(f"d-t-{run}", labels, [{"name": "base", "image": "x"}], phase=phase)
        worker["metadata"]["annotations"] = named
        self._there.put(worker)
