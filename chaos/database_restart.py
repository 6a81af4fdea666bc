"""A metadata database that restarts under its clients: maintenance, a failover, a crash."""

import psycopg

from chaos.base import Fault, Record
from chaos.holds.installer import connect
from common.errors import UserError
from lab.base import Lab

HOWS = ("fast", "immediate")

_STARTED = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8"


class DatabaseRestart(Fault):
    """Restarts PostgreSQL; every open transaction of every process is rolled back.

    `fast`: sessions are told (SQLSTATE 57P01), data is written, then it starts. `immediate`: the
    server dies as in a crash and recovers from its log. It lasts as long as the restart takes.
    """

    name = "database-restart"

    def __init__(self, lab: Lab, how: str = "fast", record: Record | None = None) -> None:
        super().__init__("*", record)
        if how not in HOWS:
            raise UserError(
                f"A database is not restarted {how!r}.", f"The ways are {', '.join(HOWS)}."
            )
        self.how = how
        self._lab = lab
        self._before = self._after = 0.0

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab's database cannot be restarted, None when it can."""
        return lab.lacks("restart-database")

    @property
    def detail(self) -> str:
        """What the fault does."""
        return f"database restarted, {self.how} shutdown"

    def inject(self) -> None:
        """Restart the database; returns when it takes connections again."""
        self._before = self._started()
        self._lab.restart_database(self.how)
        self._after = self._started()

    def _started(self) -> float:
        """Return when the server started, in unix seconds on its own clock."""
        try:
            with connect(self._lab.dsn()) as connection:
                row = connection.execute(_STARTED).fetchone()
        except psycopg.OperationalError as error:
            raise UserError(f"The database does not answer: {error}".strip()) from error
        assert row is not None
        return float(row[0])

    def fired(self) -> bool:
        """Tell whether the server is another one than before."""
        return self._after > self._before > 0

    def heal(self) -> str:
        """Do nothing: it is back."""
        return ""
