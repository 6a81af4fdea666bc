"""Time added inside a process' statement, between its snapshot and its row locks."""

from dataclasses import dataclass, field

from chaos.base import Fault, Injection, jittered, require
from chaos.holds.points import RUNNING_DAG_RUNS, Point, like
from chaos.holds.rule import Rule
from lab.base import Lab
from lab.database import connect, value

_DELAYED = """
SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND wait_event = 'PgSleep'
"""


@dataclass(frozen=True)
class StatementDelay(Fault[Lab]):
    """Delays each matching statement of a process on the server, as a busy database would.

    It widens the time between snapshot and row lock, where apache/airflow#57618 lives; latency on
    the wire does not. `delay` seconds, give or take `jitter`, drawn from `seed`: the n-th delayed
    statement waits the same in every run, as long as one jittered delay is in force at a time.
    `point` is where it waits. Ends by itself when this process dies.
    """

    process: str
    delay: float
    jitter: float = 0.0
    seed: int | None = None
    point: Point = field(default=RUNNING_DAG_RUNS, kw_only=True)

    name = "statement-delay"
    powers = ("hold",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.delay >= 0, "The delay must be 0 s or more.")
        require(self.jitter >= 0, "The jitter must be 0 s or more.")

    @property
    def detail(self) -> str:
        """What the fault does."""
        delay = jittered(self.delay, self.jitter, self.seed)
        return f"{delay} inside each matching statement"

    def inject(self, at: Injection[Lab]) -> None:
        """Put the rule in force."""
        at.kept = Rule(at.lab.dsn(), self.process, self.point)
        at.kept.put(self.delay, self.jitter, self.seed or 0)

    def fired(self, at: Injection[Lab]) -> bool:
        """Tell whether a statement of the process is being delayed now."""
        with connect(at.lab.dsn()) as connection:
            return bool(value(connection, _DELAYED, like(self.process)))

    def heal(self, at: Injection[Lab]) -> str | None:
        """Withdraw the rule; who is being delayed goes on within 50 ms."""
        rule: Rule | None = at.kept
        at.kept = None
        return rule.withdraw() if rule else None
