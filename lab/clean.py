"""Returning a used lab to how it was booted, through what Airflow itself offers for it."""

import logging
import time

import psycopg
import requests

from common.errors import UserError
from lab.base import Lab
from lab.kube.names import WORKERS
from lab.rows import PRESENT

log = logging.getLogger(__name__)

_UNFINISHED = f"""
    SELECT count(*) FROM task_instance
    WHERE state IN ('scheduled', 'queued', 'running', 'restarting') AND {PRESENT}
"""


def clean(lab: Lab, timeout: float = 30.0) -> None:
    """End all runs, wait for their pods to go, and delete the runs.

    Raises UserError when something will not go in `timeout` seconds: boot another lab then.
    """
    for process in lab.schedulers:
        lab.resume(process)
    try:
        for dag_id, run_id, state in lab.api.runs():
            if state in ("running", "queued"):
                lab.api.fail_run(dag_id, run_id)
        _remove_pods(lab, time.monotonic() + timeout)
        while runs := lab.api.runs():
            for dag_id, run_id, _ in runs:
                lab.api.delete_run(dag_id, run_id)
    except requests.RequestException as error:
        raise UserError(f"The lab's API server does not answer: {error}") from error
    if problems := lab.problems():
        raise UserError(f"The lab did not recover: {'; '.join(problems)}.")


def _remove_pods(lab: Lab, deadline: float) -> None:
    client = lab.kubernetes()
    while True:
        pods = client.list_namespaced_pod(lab.namespace, label_selector=WORKERS).items
        if not pods and not _unfinished(lab):
            return
        if time.monotonic() > deadline:
            raise UserError(f"{len(pods)} pods of an earlier test would not go.")
        if pods:
            client.delete_collection_namespaced_pod(
                lab.namespace, label_selector=WORKERS, grace_period_seconds=1
            )
        time.sleep(0.3)


def _unfinished(lab: Lab) -> int:
    with psycopg.connect(lab.dsn()) as connection:
        row = connection.execute(_UNFINISHED).fetchone()
    return int(row[0]) if row else 0
