"""A process that stops in its tracks: a long garbage collection, a frozen node, a throttled pod."""

import time
from dataclasses import dataclass, field

from chaos.base import Fault, Injection
from common.errors import UserError
from common.waiting import Deadline
from lab.base import Lab
from lab.database import connect, value

_PATIENCE = 10.0
_STEP = 0.02
_OPEN = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND xact_start IS NOT NULL
"""


@dataclass(frozen=True)
class ProcessPause(Fault[Lab]):
    """Freezes one process (SIGSTOP); its connections and locks stay as they are.

    PostgreSQL keeps what a frozen client has locked for as long as its connection lives: with
    `idle`, the freeze is tried until it comes between two transactions, where nothing is locked.
    """

    process: str
    idle: bool = field(default=False, kw_only=True)

    name = "process-pause"
    powers = ("pause",)

    @property
    def detail(self) -> str:
        """What the fault does."""
        where = " between two transactions" if self.idle else ""
        return f"frozen{where}{self.at_least}"

    def inject(self, at: Injection[Lab]) -> None:
        """Freeze the process; UserError when the lab has none of that name, or it is never idle."""
        at.lab.pause(self.process)
        deadline = Deadline(_PATIENCE)
        while self.idle and self._in_transaction(at.lab):
            at.lab.resume(self.process)
            if deadline.passed:
                raise UserError(f"{self.process} was in a transaction for {_PATIENCE:.0f} s.")
            time.sleep(_STEP)
            at.lab.pause(self.process)

    def _in_transaction(self, lab: Lab) -> bool:
        """Ask twice: a statement that was on its way when the freeze came is still to arrive."""
        with connect(lab.dsn()) as connection:
            for _ in range(2):
                if value(connection, _OPEN, self.process):
                    return True
                time.sleep(_STEP)
        return False

    def heal(self, at: Injection[Lab]) -> None:
        """Let the process go on."""
        at.lab.resume(self.process)
