"""A process that stops in its tracks: a long garbage collection, a frozen node, a throttled pod."""

import time

from chaos.base import Fault, Record
from chaos.holds.installer import connect
from common.errors import UserError
from lab.base import Lab

_PATIENCE = 10.0
_STEP = 0.02
_OPEN = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND xact_start IS NOT NULL
"""


class SchedulerPause(Fault):
    """Freezes one scheduler (SIGSTOP); its connections and locks stay as they are.

    PostgreSQL keeps what a frozen client has locked for as long as its connection lives: with
    `idle`, the freeze is tried until it comes between two transactions, where nothing is locked.

        scheduler-1  --------- takes over what scheduler-2 left ------------------->
        scheduler-2  ---|  frozen                              |-- goes on, knows of nothing
                        |<- scheduler_health_check_threshold ->|

    Frozen for `seconds` at least; once that is over scheduler_health_check_threshold (30 s by
    default) the others hold it for dead, and it is not.
    """

    name = "scheduler-pause"

    def __init__(
        self,
        lab: Lab,
        process: str,
        record: Record | None = None,
        *,
        seconds: float = 0.0,
        idle: bool = False,
    ) -> None:
        super().__init__(process, record, seconds)
        self._lab = lab
        self._idle = idle

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why the lab can freeze nothing, None when it can."""
        return lab.lacks("pause")

    @property
    def detail(self) -> str:
        """What the fault does."""
        where = " between two transactions" if self._idle else ""
        least = f" for {self.lasts:g} s or more" if self.lasts else ""
        return f"frozen{where}{least}"

    def inject(self) -> None:
        """Freeze the process; UserError when the lab has none of that name, or it is never idle."""
        self._lab.pause(self.process)
        deadline = time.monotonic() + _PATIENCE
        while self._idle and self._in_transaction():
            self._lab.resume(self.process)
            if time.monotonic() > deadline:
                raise UserError(f"{self.process} was in a transaction for {_PATIENCE:.0f} s.")
            time.sleep(_STEP)
            self._lab.pause(self.process)

    def _in_transaction(self) -> bool:
        """Ask twice: a statement that was on its way when the freeze came is still to arrive."""
        with connect(self._lab.dsn()) as connection:
            for _ in range(2):
                row = connection.execute(_OPEN, (self.process,)).fetchone()
                if row and row[0]:
                    return True
                time.sleep(_STEP)
        return False

    def heal(self) -> str:
        """Let the process go on."""
        self._lab.resume(self.process)
        return ""
