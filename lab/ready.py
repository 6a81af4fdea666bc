"""When a lab counts as booted: every part has shown itself at work, not only started."""

import psycopg
import requests

from common.errors import UserError
from lab.api import AirflowAPI
from lab.reported import require_version
from lab.spec import LabSpec

# A scheduler's row in `job` is fresh for scheduler_health_check_threshold, 30 s by default.
_LIVE_SCHEDULERS = """
    SELECT count(*) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'
    AND latest_heartbeat > now() - interval '30 seconds'
"""


def live_schedulers(dsn: str) -> int:
    """Return how many schedulers have a fresh heartbeat, by Airflow's own measure."""
    with psycopg.connect(dsn, application_name="ha-chaos") as connection:
        row = connection.execute(_LIVE_SCHEDULERS).fetchone()
    return int(row[0]) if row else 0


class Readiness:
    """Looks for what is still missing until a lab can be used."""

    def __init__(self, base_url: str, dsn: str, spec: LabSpec) -> None:
        self._api = AirflowAPI(base_url, timeout=5)
        self._dsn = dsn
        self._spec = spec

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
                f"A DAG does not import: {errors[0]}", "Mend the file, or the HA_CHAOS_ variables."
            )
        if not self._api.dag_ids():
            return "no DAG is parsed yet"
        alive = live_schedulers(self._dsn)
        if alive < self._spec.schedulers:
            return f"{alive} of {self._spec.schedulers} schedulers have a heartbeat"
        return ""
