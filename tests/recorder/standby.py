"""A real standby of a real PostgreSQL, that streams from it and can take its place."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lab.embedded.postgres import SUPERUSER, Postgres
from tests.labs import eventually


@contextmanager
def server(*settings: str) -> Iterator[Postgres]:
    """Run a server of its own, with lines of postgresql.conf."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    directory.chmod(0o755)
    made = Postgres(directory)
    try:
        made.initialise()
        with (made.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{line}\n" for line in settings)
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


@contextmanager
def standby_of(primary: Postgres) -> Iterator[Postgres]:
    """Run a standby of a server; it is a copy of the stopped one, and both run afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    directory.chmod(0o755)
    made = Postgres(directory / "standby")
    made.directory.mkdir()
    made.directory.chmod(0o755)
    primary.stop()
    try:
        shutil.copytree(primary.data, made.data, symlinks=True)
        shutil.copy2(primary.directory / "pgpass", made.directory / "pgpass")
        (made.data / "standby.signal").touch()
        with (made.data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user={SUPERUSER} "
                f"password={primary.password}'\n"
            )
        made._own(made.directory)
        primary.start()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


def promote(standby: Postgres) -> None:
    """Make it a primary; return when it takes writes."""
    with psycopg.connect(standby.dsn(SUPERUSER, SUPERUSER), autocommit=True) as connection:
        connection.execute("SELECT pg_promote(wait => true)")


def caught_up(primary: Postgres, standby: Postgres) -> bool:
    """Wait until the standby has all that the primary has."""
    with (
        psycopg.connect(primary.dsn(SUPERUSER, SUPERUSER), autocommit=True) as there,
        psycopg.connect(standby.dsn(SUPERUSER, SUPERUSER), autocommit=True) as here,
    ):
        row = there.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None

        def has_all() -> bool:
            found = here.execute(
                "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (row[0],)
            ).fetchone()
            return found == (True,)

        return eventually(has_all, 20)
