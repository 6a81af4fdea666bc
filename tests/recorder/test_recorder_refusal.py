"""Refused starts are found in workers' logs of every version, and nothing else is taken for one.

The lines are those of real workers (3.0.6, 3.1.8, 3.2.0, 3.3.2), shortened where they repeat.
"""

import pytest

from common.redaction import CUT, excerpt
from oracle.events import Refusal
from recorder.workers import find_refusal, find_task_instance_id

MESSAGE = "TI was not in a state where it could be marked as running"
ID = "019a0000-0000-7000-8000-000000000001"

FIRST = (
    '{"level":"info","event":"Executing workload","workload":"ExecuteTask(token=\'eyJhbGciOi.e30.x'
    f"', ti=TaskInstance(id=UUID('{ID}'), task_id='start', dag_id='d', run_id='r1')\"}}\n"
)
FIRST_OF_3_3 = FIRST.replace("TaskInstance(", "TaskInstanceDTO(")
EXITED = '{"level":"info","event":"Process exited","exit_code":-9,"logger":"supervisor"}\n'


def traceback(*functions: str) -> str:
    frames = "".join(f'  File "supervisor.py", line 1, in {name}\n' for name in functions)
    return (
        f"Traceback (most recent call last):\n{frames}"
        "airflow.sdk.api.client.ServerResponseError: Server returned error\nCorrelation-id=01a2\n"
    )


def exceptions(*told: str, frames: str = "_on_child_started") -> str:
    return (
        '{"level":"critical","event":"Unhandled exception","exception":['
        + ",".join(f'{{{each},"frames":[{{"lineno":1,"name":"{frames}"}}]}}' for each in told)
        + "]}\n"
    )


def server_error(detail: str) -> str:
    return f'{{"level":"warning","event":"Server error","detail":{{"detail":{detail}}}}}\n'


STARTING = traceback("start", "_on_child_started", "start", "patch")
FINISHING = traceback("wait", "update_task_state_if_needed", "finish", "patch")
INVALID = '{"reason":"invalid_state","message":"%s","previous_state":%s}'
NOT_FOUND = '{"reason":"not_found","message":"Task Instance not found"}'
LATE = '{"reason":"invalid_state","message":"TI was not in the running state","previous_state":"x"}'
ANSWER = '"exc_type":"ServerResponseError","exc_value":"Server returned error","exc_notes":[%s]'
RUNNING_ALREADY = (
    f'"exc_type":"TaskAlreadyRunningError","exc_value":"Task instance {ID} is already"'
)
NOTE = """"Correlation-id=x","Server error detail: {'reason': '%s', 'message': '%s'%s}\""""

REFUSED = {
    "3.0 running": (
        FIRST + server_error(INVALID % (MESSAGE, '"running"')) + EXITED + STARTING,
        Refusal(409, "invalid_state", "running", MESSAGE),
    ),
    "3.0 without a state": (
        FIRST + server_error(INVALID % (MESSAGE, "null")) + EXITED + STARTING,
        Refusal(409, "invalid_state", None, MESSAGE),
    ),
    "3.0 not found": (
        FIRST + server_error(NOT_FOUND) + EXITED + STARTING,
        Refusal(404, "not_found", None, "Task Instance not found"),
    ),
    "simulated running": (
        server_error(INVALID % (MESSAGE, '"running"')),
        Refusal(409, "invalid_state", "running", MESSAGE),
    ),
    "simulated not found": (
        server_error(NOT_FOUND),
        Refusal(404, "not_found", None, "Task Instance not found"),
    ),
    "3.1, which does not say why": (
        FIRST + EXITED + STARTING,
        Refusal(409, None, None, "Server returned error"),
    ),
    "3.2 running": (
        FIRST + EXITED + exceptions(RUNNING_ALREADY, ANSWER % ""),
        Refusal(409, "invalid_state", "running", "Task instance is already running"),
    ),
    "3.2 otherwise, which does not say why": (
        FIRST + EXITED + exceptions(ANSWER % '"Correlation-id=x"'),
        Refusal(409, None, None, "Server returned error"),
    ),
    "3.3 success": (
        exceptions(ANSWER % NOTE % ("invalid_state", MESSAGE, ", 'previous_state': 'success'")),
        Refusal(409, "invalid_state", "success", MESSAGE),
    ),
    "3.3 without a state": (
        exceptions(ANSWER % NOTE % ("invalid_state", MESSAGE, ", 'previous_state': None")),
        Refusal(409, "invalid_state", None, MESSAGE),
    ),
    "3.3 not found": (
        exceptions(ANSWER % NOTE % ("not_found", "Task Instance not found", "")),
        Refusal(404, "not_found", None, "Task Instance not found"),
    ),
    "a rich traceback, boxed and broken into lines": (
        "│ _on_child_started │\n│ {'reason': 'invalid_state',      │\n│ 'message': 'TI was not in "
        "a state   │\n│ where it could be marked as running',  │\n│ 'previous_state': 'queued'} │",
        Refusal(409, "invalid_state", "queued", MESSAGE),
    ),
}

NOT_REFUSED = {
    "an empty log": "",
    "a task that worked": FIRST + '{"event":"Task finished","final_state":"success"}\n',
    "a last state that came too late, 3.0": FIRST + server_error(LATE) + FINISHING,
    "a last state of a row that is gone, 3.0": FIRST + server_error(NOT_FOUND) + FINISHING,
    "a last state that came too late, 3.3": exceptions(
        ANSWER % NOTE % ("invalid_state", "TI was not in the running state", ""), frames="finish"
    ),
    "a heartbeat of a row that is gone": server_error(NOT_FOUND)
    + '{"event":"Server indicated the task shouldn\'t be running anymore","status_code":404}\n',
    "an API server that failed five times": (
        FIRST
        + '{"event":"Starting call to \'airflow.sdk.api.client.Client.request\', this is the 4th"}'
        + STARTING
    ),
    "an API server that is not there": traceback("_on_child_started").replace(
        "airflow.sdk.api.client.ServerResponseError: Server returned error", "httpx.ConnectError"
    ),
    "user code that talks of it": "print: not_found, invalid_state, {'reason': 'other'}",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_start_is_found(case: str) -> None:
    log, refusal = REFUSED[case]
    assert find_refusal(log) == refusal


@pytest.mark.parametrize("case", NOT_REFUSED)
def test_what_is_no_refused_start_is_not_taken_for_one(case: str) -> None:
    assert find_refusal(NOT_REFUSED[case]) is None


@pytest.mark.parametrize("line", [FIRST, FIRST_OF_3_3], ids=["3.0 to 3.2", "3.3"])
def test_the_worker_s_first_line_names_the_row_it_was_made_for(line: str) -> None:
    assert find_task_instance_id(line) == ID
    assert find_task_instance_id(line.replace(ID, "?")) is None


@pytest.mark.parametrize(
    "text",
    [
        "ExecuteTask(token='eyJhbGciOiJIUzUxMiIs.hunter2.hunter2', ti=...)",
        "Authorization: Bearer hunter2",
        "host=db password=hunter2 user=airflow",
        "host=db password='hunter2 hunter2' user=airflow",
        "postgresql+psycopg2://airflow:hunter2@db/airflow",
        "PGPASSWORD=hunter2 psql",
        '{"password": "hunter2", "x": 1}',
        "jwt_secret = hunter2",
    ],
)
def test_secrets_are_hidden_and_the_rest_is_kept(text: str) -> None:
    shown = excerpt(text)
    assert "hunter2" not in shown
    assert "***" in shown


def test_a_text_without_secrets_stays_as_it_is_and_a_long_one_is_cut() -> None:
    text = "the tokenizer passed: a password was not needed"
    assert excerpt(text) == text
    assert len(excerpt("x" * 1000)) == CUT
