"""A small client of Airflow's own REST API (v2), for what the lab and the suites need of it.

Only stable public routes are used, so that one client serves every 3.x.
"""

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import requests
import tenacity
from urllib3.exceptions import NewConnectionError

from common.errors import UserError

_LOST = (requests.ConnectionError, requests.Timeout)
_ATTEMPTS = 3
_PAUSE = 0.5  # s
_REFUSED = (401, 403, 404, 405, 422)

_REASON_LENGTH = 300
# How Airflow's handlers of errors name what happened, the most precise first; without
# `[api] expose_stacktrace` they say "hidden" of a database's own words.
_REASONS = ("orig_error", "msg", "reason", "message")
_HIDDEN = "hidden"


@dataclass(frozen=True)
class Login:
    """How to log in: with a token as it is, or a user and password; with neither, as nobody."""

    token: str = ""
    user: str = ""
    password: str = ""

    def request(self) -> tuple[str, dict[str, str] | None]:
        """Return how to ask /auth/token: for nobody a GET, since an empty POST is a 422."""
        if not self.user:
            return "GET", None
        return "POST", {"username": self.user, "password": self.password}

    @staticmethod
    def from_environment() -> "Login":
        """Read HA_CHAOS_API_TOKEN, or HA_CHAOS_API_USER and HA_CHAOS_API_PASSWORD."""
        parts = ("TOKEN", "USER", "PASSWORD")
        return Login(*(os.environ.get(f"HA_CHAOS_API_{part}", "") for part in parts))


class RefusedCall(UserError):
    """An answer that is an error; `status` is its HTTP status."""

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class AirflowAPI:
    """Airflow's REST API at `base_url`.

    Without a `login` it logs in as SimpleAuthManager's all-admins user.
    """

    def __init__(self, base_url: str, timeout: float = 20.0, login: Login | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._login = login or Login()
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._lock = threading.Lock()
        self._token: str | None = None

    def token(self) -> str:
        """Return an access token; asked for once (a GET: POST with an empty body is 422)."""
        with self._lock:
            if self._token is None:
                self._token = self._login.token or self._ask_for_token()
            return self._token

    def _ask_for_token(self) -> str:
        """Log in; UserError when the API does not know us."""
        login, url = self._login, f"{self.base_url}/auth/token"
        method, body = login.request()
        answer = self._session.request(method, url, json=body, timeout=self._timeout)
        if answer.status_code in _REFUSED:
            who = f"does not let in the user {login.user}" if login.user else "wants a login"
            raise UserError(
                f"Airflow's API {who} (it answered {answer.status_code}).",
                "Set HA_CHAOS_API_TOKEN, or HA_CHAOS_API_USER and HA_CHAOS_API_PASSWORD.",
            )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Make one call and return its JSON (None when empty); UserError on an error answer.

        Without an answer it is made up to three times. A POST is not, but where nobody took it: it
        may have been carried out, and what it creates would be there twice.
        """
        may_repeat = _never_sent if method == "POST" else _has_no_answer
        try:
            for attempt in _attempts(may_repeat):
                with attempt:
                    return self._once(method, path, **options)
        except requests.ReadTimeout as error:
            if method != "POST":
                raise
            raise UserError(
                f"Airflow's API gave no answer to {method} {path} in {self._timeout:g} s.",
                "It may carry it out nevertheless. Look into the API server's log.",
            ) from error
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, **options: Any) -> Any:
        answer = self._session.request(
            method,
            f"{self.base_url}{path}",
            headers={"Authorization": f"Bearer {self.token()}"},
            timeout=self._timeout,
            **options,
        )
        if answer.status_code >= 400:
            raise RefusedCall(
                f"Airflow's API answered {answer.status_code} to {method} {path}: "
                f"{reason(answer.content) or 'no reason'}.",
                "Look into the API server's log.",
                answer.status_code,
            )
        return answer.json() if answer.content else None

    def health(self) -> dict[str, Any]:
        """Return `/api/v2/monitor/health`: each component's status and last heartbeat."""
        answer: dict[str, Any] = self.call("GET", "/api/v2/monitor/health")
        return answer

    def wake_for_workers(self) -> None:
        """Have the API server make what it answers workers with; it does at their first request."""
        self.call("GET", "/execution/health")

    def version(self) -> str:
        """Return the version that the API server reports, to everybody."""
        answer = self._session.get(f"{self.base_url}/api/v2/version", timeout=self._timeout)
        answer.raise_for_status()
        return str(answer.json()["version"])

    def is_paused(self, dag_id: str) -> bool | None:
        """Return whether a DAG is paused; None where there is none of this id."""
        found = self.call("GET", "/api/v2/dags", params={"dag_id_pattern": dag_id, "limit": 100})
        return next((bool(d["is_paused"]) for d in found["dags"] if d["dag_id"] == dag_id), None)

    def dag_ids(self) -> list[str]:
        """Return the ids of the DAGs that were parsed and are active."""
        answer = self.call("GET", "/api/v2/dags", params={"limit": 100})
        return sorted(dag["dag_id"] for dag in answer["dags"])

    def paused(self) -> list[str]:
        """Return the ids of the DAGs that are paused."""
        answer = self.call("GET", "/api/v2/dags", params={"paused": True, "limit": 100})
        return [dag["dag_id"] for dag in answer["dags"]]

    def import_errors(self) -> list[str]:
        """Return the DAG files' import errors: file name and the last line of the trace."""
        answer = self.call("GET", "/api/v2/importErrors", params={"limit": 20})
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in answer["import_errors"]
        ]

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any] | None = None) -> None:
        """Create one run of a DAG, to start at once.

        Where the answer is lost it asks again, and then a run that exists (409) is its own.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        for attempt in _attempts(_has_no_answer):
            with attempt:
                try:
                    self._once("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
                except RefusedCall as refused:
                    if refused.status != 409 or attempt.retry_state.attempt_number == 1:
                        raise

    def update_asset(self, name: str, partition: str | None = None) -> None:
        """Create an event of an asset, as somebody outside of Airflow does who has updated it.

        With `partition`, the key of the one that was updated (since Airflow 3.2).
        """
        answer = self.call("GET", "/api/v2/assets", params={"name_pattern": name, "limit": 100})
        found = [each["id"] for each in answer["assets"] if each["name"] == name]
        if not found:
            raise UserError(
                f"Airflow knows no asset {name!r}.",
                "Has its DAG been parsed, and are its files of dags/ of this version?",
            )
        key = {} if partition is None else {"partition_key": partition}
        body = {"asset_id": found[0], "extra": {}, **key}
        self.call("POST", "/api/v2/assets/events", json=body)

    def pause_dag(self, dag_id: str, *, paused: bool) -> None:
        """Pause a DAG, or let it go on: its runs that are under way are not scheduled meanwhile."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": paused})

    def drain_dag(self, dag_id: str) -> None:
        """Have a DAG finish the runs that it has, and then be paused (since Airflow 3.4)."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"scheduling_state": "draining"})

    def backfill(self, dag_id: str, since: str, until: str) -> None:
        """Have the runs of a DAG made that it has not, between two days as in 2025-01-31."""
        days = {"from_date": f"{since}T00:00:00Z", "to_date": f"{until}T00:00:00Z"}
        self.call("POST", "/api/v2/backfills", json={"dag_id": dag_id, **days})

    def cancel_backfills(self, dag_id: str) -> None:
        """End the backfills of a DAG that are active, so that another one may be asked for."""
        found = self.call("GET", "/api/v2/backfills", params={"dag_id": dag_id, "limit": 100})
        for each in found["backfills"]:
            if each["completed_at"] is None:
                # A scheduler may complete it just now, which is a 409.
                with suppress(UserError):
                    self.call("PUT", f"/api/v2/backfills/{each['id']}/cancel")

    def runs(self) -> list[tuple[str, str, str]]:
        """Return (dag_id, run_id, state) of up to 100 of the newest runs."""
        answer = self.call("GET", "/api/v2/dags/~/dagRuns", params={"limit": 100})
        return [(run["dag_id"], run["dag_run_id"], run["state"]) for run in answer["dag_runs"]]

    def mark_run(self, dag_id: str, run_id: str, state: str = "failed") -> None:
        """Mark a run as `failed` or `success`, which ends its unfinished task instances."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        self.call("PATCH", path, json={"state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run, whatever its state, as a person does: it is to run again.

        Raises UserError where nothing was cleared: Airflow answers 200 to that.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        cleared = self.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)
        if not cleared["total_entries"]:
            raise UserError(
                f"Airflow cleared nothing: run {run_id} of {dag_id} has no task {task_id}.",
                "Write a task that the run has.",
            )

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task of a run as `success`, `failed` or `skipped`, as a person does."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.call("PATCH", path, json={"new_state": state})

    def slots(self, pool: str) -> int:
        """Return how many slots a pool has; -1 is no limit."""
        return int(self.call("GET", f"/api/v2/pools/{pool}")["slots"])

    def resize_pool(self, pool: str, slots: int) -> None:
        """Give a pool as many slots."""
        path, mask = f"/api/v2/pools/{pool}", {"update_mask": "slots"}
        self.call("PATCH", path, params=mask, json={"slots": slots})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run and its task instances."""
        self.call("DELETE", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")


def _attempts(may_repeat: Callable[[BaseException], bool]) -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_repeat),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_fixed(_PAUSE),
        reraise=True,
    )


def _has_no_answer(error: BaseException) -> bool:
    return isinstance(error, _LOST)


def _never_sent(error: BaseException) -> bool:
    """Whether there was no connection at all, so that nobody can have read the request."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def reason(body: bytes | str) -> str:
    """Return in one line why the API refused, from an answer: its `detail`, else its text.

    Empty where the answer says nothing.
    """
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text
    if isinstance(answer, dict):
        answer = answer.get("detail", answer)
    return " ".join(_words(answer).split())[:_REASON_LENGTH]


def _words(answer: Any) -> str:
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if isinstance(answer, dict):
        named = (answer.get(name) for name in _REASONS)
        found = next((words for words in named if words and words != _HIDDEN), None)
        return str(found) if found else json.dumps(answer) if answer else ""
    return "" if answer is None or answer == [] else str(answer)
