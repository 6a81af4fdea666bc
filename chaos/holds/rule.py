"""One rule on one process' statement, and the connection that keeps it in force."""

import psycopg

from chaos.holds.installer import HOLDERS, LOCK_CLASS, install
from lab.database import connect, value

# The statement with which a scheduler locks the runs it examines, as SQLAlchemy writes it in
# Airflow 3.0.4 to 3.4.0b2 (DagRun.get_running_dag_runs_to_examine; 3.2.0 dropped the join with
# task_instance around it, 3.4 the one with backfill_dag_run). Its sibling
# get_queued_dag_runs_to_set_running asks for dag's columns in the join.
RUNNING_DAG_RUNS = (
    "%FROM dag_run JOIN dag ON dag.dag_id = dag_run.dag_id %WHERE dag_run.state = %"
    " AND dag.is_paused = false AND dag.is_stale = false AND dag_run.run_after <= now() ORDER BY %"
    "FOR NO KEY UPDATE OF dag_run SKIP LOCKED%"
)

# The statement with which a scheduler picks what it will queue, from inside its critical section
# (SchedulerJobRunner._executable_task_instances_to_queued): it has taken the advisory lock and
# the slot_pool rows by then.
CRITICAL_SECTION = (
    "%FROM task_instance JOIN dag_run ON %JOIN dag ON task_instance.dag_id = dag.dag_id %"
    "FOR NO KEY UPDATE OF task_instance SKIP LOCKED%"
)

STATEMENTS = {"running-dag-runs": RUNNING_DAG_RUNS, "critical-section": CRITICAL_SECTION}
"""The statements that a scenario can name; on every pinned release each of these patterns fits its
own statement and no other (tests/system/test_statements.py)."""


def like(glob: str) -> str:
    """Return the LIKE pattern of a process' name, in which `*` and `?` stand for any."""
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


class Rule:
    """A rule that lives and dies with this object's connection.

    Its advisory lock is what makes it count (statement.sql): when this process is killed, the
    server drops the lock, and the rule counts for nothing from that moment. Installs the rules'
    machinery when it is missing; raises UserError when it cannot.
    """

    def __init__(self, dsn: str, process: str, statement: str) -> None:
        install(dsn)
        self.connection = connect(dsn)
        self._match = (like(process), statement)
        self.key: int | None = None

    def put(self, delay: float | None = None, jitter: float = 0.0, seed: int = 0) -> None:
        """Put the rule in force, in place of what this object put before.

        `delay` and `jitter` are seconds; without `delay`, the statement is held. What the former
        rule held goes free, and what comes after it meets the new one: there is no moment
        without a rule.
        """
        former = self.key
        with self.connection.transaction():
            # Nobody else's key, so there is no wait for its lock.
            self.key = int(value(self.connection, "SELECT nextval('chaos.key')::integer"))
            self.connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, self.key))
            self._sweep(former)
            self.connection.execute(
                "INSERT INTO chaos.rule (key, process, statement, delay, jitter, seed)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (self.key, *self._match, delay, jitter, seed),
            )
        if former is not None:
            self.connection.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, former))

    def _sweep(self, former: int | None) -> None:
        """Delete the former rule, and those whose controllers died (a rule without a holder)."""
        self.connection.execute(
            "DELETE FROM chaos.rule WHERE key = %s"
            f" OR key NOT IN (SELECT objid::bigint FROM ({HOLDERS}) AS holder)",
            (former,),
        )

    def withdraw(self) -> str:
        """End the rule; return that it had ended before, where its connection was lost."""
        try:
            self.connection.execute("DELETE FROM chaos.rule WHERE key = %s", (self.key,))
        except psycopg.OperationalError:
            return "it had ended before: its connection to the database was lost"
        finally:
            self.connection.close()
        return ""
