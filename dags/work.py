"""What the tasks do: real work whose traces do not depend on Airflow's own bookkeeping.

Every task writes a start and an end row into the ledger (table `oracle.audit`, kind `ledger`),
so that a task whose code ran twice is seen even where its row says otherwise. Standard library
only; psycopg2 is imported where a ledger is in use, for Airflow parses this file all the time.
"""

import json
import os
import random
import socket
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal, Protocol

LEDGER_VARIABLE = "HA_CHAOS_LEDGER"
CONNECT_SECONDS = 10

INSERT = "INSERT INTO oracle.audit (kind, body) VALUES ('ledger', %s)"

Op = Literal["start", "end", "fail"]


class TaskInstance(Protocol):
    """What the tasks need of Airflow's `ti`."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    task: Any


class DagRun(Protocol):
    """What the tasks need of Airflow's `dag_run`."""

    conf: Mapping[str, Any] | None


class LedgerError(Exception):
    """The ledger cannot be written: the task fails, for its run would prove nothing."""


class FlakyError(Exception):
    """A failure that was asked for, by the seed or by the shape."""


class Ledger:
    """The connection to the ledger, one for a task's life.

    Without HA_CHAOS_LEDGER, or where the recorder has no table, it writes nothing: the DAGs
    then run in any Airflow. A server that cannot be reached or refuses raises LedgerError.
    """

    def __init__(self, ti: TaskInstance) -> None:
        self._ti = ti
        self._connection: Any = None
        conninfo = os.environ.get(LEDGER_VARIABLE)
        if conninfo:
            self._connect(conninfo)

    def write(self, op: Op) -> None:
        """Add one row, committed before it returns."""
        if self._connection is None:
            return
        from psycopg2 import Error
        from psycopg2.errors import UndefinedTable

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(INSERT, (json.dumps({"op": op, **_identity(self._ti)}),))
        except UndefinedTable:
            self.close()
        except Error as error:
            raise LedgerError(f"The ledger took no {op!r} row: {_line(error)}") from None

    def close(self) -> None:
        """Give the connection back; more writes do nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, conninfo: str) -> None:
        try:
            from psycopg2 import OperationalError, ProgrammingError, connect
        except ImportError:
            raise LedgerError(
                f"{LEDGER_VARIABLE} is set, but psycopg2 is missing; install psycopg2-binary."
            ) from None
        try:
            self._connection = connect(
                conninfo, application_name="task", connect_timeout=CONNECT_SECONDS
            )
        except ProgrammingError:
            raise LedgerError(f"{LEDGER_VARIABLE} is not a libpq connection string.") from None
        except OperationalError as error:
            raise LedgerError(f"The ledger cannot be reached: {_line(error)}") from None
        self._connection.autocommit = True


@contextmanager
def recorded(ti: TaskInstance) -> Iterator[None]:
    """Bracket user code with its `start` row and its `end` row, or `fail` when it raises."""
    with closing(Ledger(ti)) as ledger:
        ledger.write("start")
        try:
            yield
        except BaseException:
            ledger.write("fail")
            raise
        ledger.write("end")


def work(ti: TaskInstance, sleep: float = 0.0, dag_run: DagRun | None = None) -> None:
    """Work for `sleep` seconds, or for as many as the run's conf says."""
    with recorded(ti):
        time.sleep(_asked(dag_run, sleep))


def flaky(
    ti: TaskInstance, sleep: float = 0.0, seed: int = 0, dag_run: DagRun | None = None
) -> None:
    """Work, but fail some of the first tries, never the last one that `retries` allows.

    How many is drawn from the seed and the task instance: the same seed and run ids fail in
    the same places. Raises FlakyError for those.
    """
    with recorded(ti):
        time.sleep(_asked(dag_run, sleep))
        if ti.try_number <= _draw(ti, seed, ti.task.retries + 1):
            raise FlakyError(f"Try {ti.try_number} fails, as seed {seed} asks for.")


def fail(ti: TaskInstance, sleep: float = 0.0, dag_run: DagRun | None = None) -> None:
    """Work, and fail at the end. Raises FlakyError."""
    with recorded(ti):
        time.sleep(_asked(dag_run, sleep))
        raise FlakyError(f"Try {ti.try_number} fails, as each does.")


def skip(ti: TaskInstance, sleep: float = 0.0, dag_run: DagRun | None = None) -> None:
    """Work, then skip the task; for the ledger that is an end, for its code is done."""
    work(ti, sleep, dag_run)
    try:
        from airflow.sdk.exceptions import AirflowSkipException
    except ImportError:
        from airflow.exceptions import AirflowSkipException
    raise AirflowSkipException("This task always skips itself.")


def branch(
    ti: TaskInstance,
    choices: Sequence[str],
    sleep: float = 0.0,
    seed: int = 0,
    dag_run: DagRun | None = None,
) -> str:
    """Work, then return which task to follow, drawn from the seed and the task instance."""
    work(ti, sleep, dag_run)
    return choices[_draw(ti, seed, len(choices))]


def reschedule(
    ti: TaskInstance,
    pokes: int,
    sleep: float = 0.0,
    task_reschedule_count: int = 0,
    dag_run: DagRun | None = None,
) -> bool:
    """Say whether a sensor may end: once it was rescheduled `pokes` times.

    Only the poke that ends it is in the ledger: the earlier ones leave the task unfinished on
    purpose, and several starts of one try would look like the very fault that is looked for.
    """
    if task_reschedule_count < pokes:
        return False
    work(ti, sleep, dag_run)
    return True


defer = work


def called(*_: Any, **__: Any) -> None:
    """Do nothing when a run or a try has ended, or is late: that it is asked for is what counts."""


def _asked(dag_run: DagRun | None, sleep: float) -> float:
    """Return how long to work: one lab has runs of several tests, each with its own `sleep`."""
    conf = (dag_run.conf if dag_run else None) or {}
    return float(conf.get("sleep", sleep))


def _draw(ti: TaskInstance, seed: int, sides: int) -> int:
    """Return a number below `sides` that only the seed and the task instance decide."""
    identity = (seed, ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    return random.Random(zlib.crc32(repr(identity).encode())).randrange(sides)


def _identity(ti: TaskInstance) -> dict[str, str | int]:
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if ti.map_index is None else ti.map_index,
        "try_number": ti.try_number,
        "pod": os.environ.get("HOSTNAME") or socket.gethostname(),
        "pid": os.getpid(),
    }


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
