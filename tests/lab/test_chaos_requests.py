"""Workers' requests, the API server and the triggerers of a real lab: recorded, held, disturbed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from chaos.api_server_kill import ApiServerKill
from chaos.api_server_pause import ApiServerPause
from chaos.holds.worker_request import WorkerRequestHold
from chaos.lost_answers import LostAnswers
from chaos.process_kill import ProcessKill
from chaos.process_pause import ProcessPause
from common.errors import UserError
from lab.api import AirflowAPI
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.supervised import SupervisedLab
from oracle.events import AnswerEvent, Event
from oracle.history import read
from run.run import Run
from tests.labs import eventually

pytestmark = pytest.mark.xdist_group("labs-2")


@pytest.fixture(scope="module")
def lab() -> Iterator[SupervisedLab]:
    owner = Owner.me()
    env = {"HA_CHAOS_SHAPES": "single,impatient:60", "HA_CHAOS_SLEEP": "0"}
    spec = LabSpec(prepare("3.3.2"), triggerers=2, kubelet="fork", env=env)
    lab = start(spec, owner=(owner.pid, owner.born))
    yield lab
    lab.stop()


@pytest.fixture
def run(lab: SupervisedLab, tmp_path: Path) -> Iterator[Run]:
    run = Run(lab, tmp_path / "run", "requests", seed=1)
    run.begin()
    yield run
    run.abandon()


def state(lab: SupervisedLab, run_id: str) -> str | None:
    with psycopg.connect(lab.dsn()) as connection:
        row = connection.execute(
            "SELECT state FROM task_instance WHERE run_id = %s", (run_id,)
        ).fetchone()
    return row[0] if row else None


def ended(lab: SupervisedLab, run_id: str) -> bool:
    return eventually(lambda: state(lab, run_id) == "success", 90)


def answers(run: Run) -> list[AnswerEvent]:
    """End a run, and return what was answered to workers about its task instances."""
    judgement = run.end()
    assert judgement.verdict == "valid", judgement
    header, events = read(run.folder / "history.ndjson")
    assert header.answers
    return [each for each in events if _is_of_a_task(each)]  # type: ignore[misc]


def _is_of_a_task(event: Event) -> bool:
    return isinstance(event, AnswerEvent) and event.request in ("run", "state")


def test_what_a_worker_was_answered_is_in_the_history(lab: SupervisedLab, run: Run) -> None:
    lab.api.trigger("single", "answered")
    assert ended(lab, "answered")
    # Where the machine is busy, a worker asks more than once.
    began, succeeded = [each for each in answers(run) if each.acknowledged]
    assert (began.request, began.state, began.status) == ("run", "running", 200)
    assert (succeeded.request, succeeded.state, succeeded.status) == ("state", "success", 204)
    assert began.ti is not None
    assert (began.ti.dag_id, began.ti.run_id, began.ti.task_id) == ("single", "answered", "task")
    assert (began.try_number, began.host) == (1, succeeded.host)
    assert began.t < succeeded.t


def test_a_worker_is_held_when_it_says_that_it_is_done(lab: SupervisedLab) -> None:
    with WorkerRequestHold(lab, "state", state="success", of="single.task") as hold:
        lab.api.trigger("single", "held")
        assert hold.wait_held(timeout=90).state == "success"
        assert state(lab, "held") == "running"
    assert ended(lab, "held")


def test_a_success_whose_answer_is_lost_is_told_again(lab: SupervisedLab, run: Run) -> None:
    with LostAnswers(request="state", count=1).on(lab) as fault:
        lab.api.trigger("single", "lost")
        assert ended(lab, "lost")
        assert eventually(lambda: fault.fired() and fault.kept.report()["held"] == [])
        assert eventually(lambda: _no_pods(lab), 60), "its worker asks again, and ends"
    first, *again = [each for each in answers(run) if each.request == "state"]
    assert (first.status, first.given, first.acknowledged) == (204, False, False)
    assert [(each.status, each.given) for each in again] == [(200, True)], "it is as it says"


def _no_pods(lab: SupervisedLab) -> bool:
    pods = lab.kubernetes().list_namespaced_pod(lab.namespace).items
    return all(each.status.phase in ("Succeeded", "Failed") for each in pods)


def test_a_killed_api_server_is_away_until_it_is_healed(lab: SupervisedLab) -> None:
    told: list[tuple[str, ...]] = []
    with ApiServerKill().on(lab, lambda *event: told.append(event)):
        assert eventually(lambda: not _answers(lab), 5)
    assert eventually(lambda: _answers(lab), 60)
    assert eventually(lambda: lab.problems() == [], 60)
    assert told == [
        ("begin", "api-server-kill", "api-server", "killed by SIGKILL"),
        ("end", "api-server-kill", "api-server", "started again"),
    ]


def test_a_frozen_api_server_answers_nobody_until_it_is_healed(lab: SupervisedLab) -> None:
    with ApiServerPause().on(lab):
        assert not _answers(lab)
        assert "api-server is frozen" in lab.problems()
    assert eventually(lambda: _answers(lab), 10)


@contextmanager
def no_new_runs(lab: SupervisedLab) -> Iterator[None]:
    """Have the API server wait at its database for as long: it has taken what it was asked."""
    with psycopg.connect(lab.dsn()) as connection:
        connection.execute("LOCK TABLE dag_run IN SHARE MODE")
        yield


def test_a_run_whose_answer_is_lost_is_made_once_and_is_no_error(lab: SupervisedLab) -> None:
    """A busy server takes a request, its client's patience ends, and it is carried out later."""
    api = AirflowAPI(lab.api.base_url, timeout=3)
    api.token()
    with ThreadPoolExecutor(1) as pool:
        with no_new_runs(lab):
            asked = pool.submit(api.trigger, "single", "unheard")
            time.sleep(4)  # the first attempt has ended, the second one waits
        asked.result(60)
    assert ended(lab, "unheard")
    with pytest.raises(UserError, match="409"):
        api.trigger("single", "unheard")


def test_what_may_have_been_created_is_not_asked_for_again(lab: SupervisedLab) -> None:
    api = AirflowAPI(lab.api.base_url, timeout=3)
    api.token()
    with no_new_runs(lab), pytest.raises(UserError, match="may carry it out"):
        api.call("POST", "/api/v2/dags/single/dagRuns", json={"logical_date": None})
    lab.api.trigger("single", "the-next")
    assert ended(lab, "the-next")
    made = [run for dag, run, _ in lab.api.runs() if dag == "single" and "manual__" in run]
    assert len(made) == 1, made


def _answers(lab: SupervisedLab) -> bool:
    try:
        return requests.get(f"{lab.api.base_url}/api/v2/version", timeout=2).ok
    except requests.RequestException:
        return False


def test_two_triggerers_have_names_and_one_of_them_goes_on_without_the_other(
    lab: SupervisedLab,
) -> None:
    both = {"triggerer-1", "triggerer-2"}
    assert both <= set(lab.daemons)
    assert eventually(lambda: both <= _sessions(lab))
    process = psutil.Process(lab.state.processes["triggerer-1"].pid)
    killed = psutil.Process(lab.state.processes["triggerer-2"].pid)
    with ProcessKill("triggerer-2").on(lab):
        assert eventually(lambda: not killed.is_running() or killed.status() == "zombie", 5)
        with ProcessPause("triggerer-1").on(lab):
            assert eventually(lambda: process.status() == psutil.STATUS_STOPPED)
            lab.api.trigger("impatient-60", "deferred")
            assert eventually(lambda: state(lab, "deferred") == "deferred", 90)
            time.sleep(3)
            assert state(lab, "deferred") == "deferred"
        assert ended(lab, "deferred")
    assert eventually(lambda: "triggerer-2" in _sessions(lab), 60)
    assert eventually(lambda: lab.problems() == [], 60)


def _sessions(lab: SupervisedLab) -> set[str]:
    with psycopg.connect(lab.dsn()) as connection:
        rows = connection.execute("SELECT application_name FROM pg_stat_activity").fetchall()
    return {name for (name,) in rows}
