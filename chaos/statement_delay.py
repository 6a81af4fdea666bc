"""Time added inside a process' statement, between its snapshot and its row locks."""

from chaos.base import Fault, Record
from chaos.holds.installer import connect, unavailable
from chaos.holds.rule import RUNNING_DAG_RUNS, Rule, like
from common.errors import UserError
from lab.base import Lab

_DELAYED = """
SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND wait_event = 'PgSleep'
"""


class StatementDelay(Fault):
    """Delays each matching statement of a process on the server, as a busy database would.

    It widens the time between snapshot and row lock, where apache/airflow#57618 lives; latency on
    the wire does not. `seconds` give or take `jitter`, drawn from `seed`: the n-th delayed
    statement waits the same in every run, as long as one jittered delay is in force at a time.
    Ends by itself when this process dies.
    """

    name = "statement-delay"

    def __init__(
        self,
        lab: Lab,
        process: str,
        seconds: float,
        jitter: float = 0.0,
        seed: int = 0,
        *,
        statement: str = RUNNING_DAG_RUNS,
        record: Record | None = None,
    ) -> None:
        super().__init__(process, record)
        if seconds < 0 or jitter < 0:
            raise UserError("A delay and its jitter are seconds, not negative.", "Give 0 or more.")
        self.seconds = seconds
        self.jitter = jitter
        self.seed = seed
        self._lab = lab
        self._statement = statement
        self._rule: Rule | None = None

    @classmethod
    def available(cls, lab: Lab) -> str | None:
        """Return why row-level security cannot serve in the lab's database, None when it can."""
        return lab.lacks("gate") or unavailable(lab.dsn())

    @property
    def detail(self) -> str:
        """What the fault does."""
        jitter = f" ± {self.jitter:g} s (seed {self.seed})" if self.jitter else ""
        return f"{self.seconds:g} s{jitter} inside each matching statement"

    def inject(self) -> None:
        """Put the rule in force."""
        self._rule = Rule(self._lab.dsn(), self.process, self._statement)
        self._rule.put(self.seconds, self.jitter, self.seed)

    def fired(self) -> bool:
        """Tell whether a statement of the process is being delayed now."""
        with connect(self._lab.dsn()) as connection:
            row = connection.execute(_DELAYED, (like(self.process),)).fetchone()
        return bool(row and row[0])

    def heal(self) -> str:
        """Withdraw the rule; who is being delayed goes on within 50 ms."""
        rule, self._rule = self._rule, None
        if rule is None or rule.withdraw():
            return ""
        return "it had ended before: its connection to the database was lost"
