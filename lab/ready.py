"""How far Airflow is, by what its API and its own tables say: booted, at work, or done.

Started is not booted: every part has shown itself at work.
"""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import requests

from common.errors import UserError
from common.waiting import Deadline, Every
from lab.api import AirflowAPI
from lab.base import require_version
from lab.spec import LabSpec

# Seconds between two looks.
_LOOK = 0.3

# A row in `job` is fresh for scheduler_health_check_threshold, or triggerer_health_check_threshold:
# both 30 s by default.
_LIVE = """
    SELECT count(*) FROM job WHERE job_type = %s AND state = 'running'
    AND latest_heartbeat > now() - interval '30 seconds'
"""

PRESENT = """NOT to_jsonb(task_instance) @> '{"working_set": null}'"""
"""A condition on a scan of `task_instance`, on every release: the row is the present try.

Since 3.4 a try is a row: the ones before stay in the table, archived, with `working_set` NULL (in
the present one it is true). Before, the column is not there; so no column is named here. Read from
`airflow/models/taskinstance.py` of apache-airflow-core 3.3.2 and 3.4.0b2."""

_UNFINISHED = f"""
    SELECT count(*) FROM task_instance
    WHERE (state IN ('queued', 'running', 'restarting') OR state = 'scheduled' AND EXISTS (
        SELECT FROM dag_run WHERE dag_run.dag_id = task_instance.dag_id
        AND dag_run.run_id = task_instance.run_id AND dag_run.state = 'running'
    )) AND {PRESENT}
"""
"""What is scheduled in a run that has ended, no scheduler queues any more."""


def live_schedulers(dsn: str) -> int:
    """Return how many schedulers have a fresh heartbeat, by Airflow's own measure."""
    return _count(dsn, _LIVE, "SchedulerJob")


def unfinished(dsn: str) -> int:
    """Return how many task instances a worker may still run for."""
    return _count(dsn, _UNFINISHED)


def _count(dsn: str, query: LiteralString, *values: str) -> int:
    with psycopg.connect(dsn, application_name="ha-chaos") as connection:
        row = connection.execute(query, values or None).fetchone()
    return int(row[0]) if row else 0


class Readiness:
    """Looks for what is still missing until a lab can be used."""

    def __init__(self, base_url: str, dsn: str, spec: LabSpec) -> None:
        self._api = AirflowAPI(base_url, timeout=5)
        self._dsn = dsn
        self._spec = spec

    def waiting(self, timeout: float) -> Iterator[str]:
        """Yield what is missing, in words, until nothing is; UserError after `timeout` seconds.

        However often it is asked, it looks a few times a second: an API server that answers all the
        time keeps those from booting for which it is waited.
        """
        deadline, look = Deadline(timeout), Every(_LOOK)
        while missing := self.missing():
            while not look.due():
                yield missing
            if deadline.passed:
                raise UserError(f"The lab was not ready after {timeout:.0f} s: {missing}.")

    def missing(self) -> str:
        """Return what is being waited for, in words; empty when the lab is ready.

        Raises UserError at once when a DAG file does not import, or another Airflow answers than
        the one that was asked for: waiting would not mend it.
        """
        try:
            self._api.health()
            reported = self._api.version()
        except (requests.RequestException, UserError):
            return "the API server does not answer yet"
        require_version(self._spec.airflow.version, reported)
        if errors := self._api.import_errors():
            raise UserError(
                f"A DAG does not import: {'; '.join(errors)}",
                "Mend the file, or the HA_CHAOS_ variables.",
            )
        if not self._api.dag_ids():
            return "no DAG is parsed yet"
        alive = live_schedulers(self._dsn)
        if alive < self._spec.schedulers:
            return f"{alive} of {self._spec.schedulers} schedulers have a heartbeat"
        awake = _count(self._dsn, _LIVE, "TriggererJob") if self._spec.triggerers else 0
        if awake < self._spec.triggerers:
            return f"{awake} of {self._spec.triggerers} triggerers have a heartbeat"
        return ""
