"""A metadata database that restarts under its clients: maintenance, a failover, a crash."""

from dataclasses import dataclass, field

import psycopg

from chaos.base import ALL_PROCESSES, Fault, Injection, require
from common.errors import UserError
from lab.base import Lab
from lab.database import connect, value

HOWS = ("fast", "immediate")

_STARTED = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8"


@dataclass(frozen=True)
class DatabaseRestart(Fault[Lab]):
    """Restarts PostgreSQL; every open transaction of every process is rolled back.

    `fast`: sessions are told (SQLSTATE 57P01), data is written, then it starts. `immediate`: the
    server dies as in a crash and recovers from its log. It lasts as long as the restart takes.
    """

    how: str = "fast"
    process: str = field(default=ALL_PROCESSES, init=False)

    name = "database-restart"
    powers = ("restart-database",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.how in HOWS, f"A database restarts {' or '.join(HOWS)}, not {self.how!r}.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"database restarted, {self.how} shutdown"

    def inject(self, at: Injection[Lab]) -> None:
        """Restart the database; returns when it takes connections again."""
        before = _started(at.lab)
        at.lab.restart_database(self.how)
        at.kept = _started(at.lab) > before

    def fired(self, at: Injection[Lab]) -> bool:
        """Tell whether the server is another one than before."""
        return bool(at.kept)

    def heal(self, at: Injection[Lab]) -> None:
        """Do nothing: it is back."""


def _started(lab: Lab) -> float:
    """Return when the server started, in unix seconds on its own clock."""
    try:
        with connect(lab.dsn()) as connection:
            return float(value(connection, _STARTED))
    except psycopg.OperationalError as error:
        raise UserError(f"The database does not answer: {error}".strip()) from error
