"""A lab on real Airflow: it boots, is healthy, is cleaned, and leaves nothing, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from common.errors import UserError
from common.paths import PROJECT
from common.spawn import is_same_process
from lab.embedded.lab import EmbeddedLab
from lab.ending import reap
from lab.environments.preparation import prepare
from lab.environments.settings import database_urls
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.state import LabState
from tests.labs import at_night, eventually, owned_by

VERSION = "3.0.6"
pytestmark = pytest.mark.xdist_group("labs-3")


def spec(**changes: object) -> LabSpec:
    return LabSpec(prepare(VERSION), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lab() -> Iterator[EmbeddedLab]:
    owner = Owner.me()
    lab = start(spec(), owner=(owner.pid, owner.born))
    assert isinstance(lab, EmbeddedLab)
    yield lab
    lab.stop()


def test_a_booted_lab_is_healthy_and_its_boot_is_told_by_part(lab: EmbeddedLab) -> None:
    assert lab.problems() == []
    assert set(lab.boot) == {"database", "proxy and Kubernetes API", "Airflow"}


def test_every_scheduler_has_its_name_in_the_database(lab: EmbeddedLab) -> None:
    with psycopg.connect(lab.dsn()) as connection:
        rows = connection.execute("SELECT DISTINCT application_name FROM pg_stat_activity")
        names = {row[0] for row in rows}
    assert {"scheduler-1", "scheduler-2", "dag-processor"} <= names


_SHOWS_ITS_NAME = """
import asyncio, os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def show():
    engine = create_async_engine(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"])
    async with engine.connect() as connection:
        print((await connection.execute(text("SHOW application_name"))).scalar())
    await engine.dispose()

asyncio.run(show())
"""


def test_an_asynchronous_session_has_its_processs_name_too(lab: EmbeddedLab) -> None:
    at = lab.endpoints
    env = database_urls(lab.airflow, at["proxy"], at["password"], "scheduler-1")
    shown = subprocess.run(
        [str(lab.airflow.python), "-c", _SHOWS_ITS_NAME],
        env={**env, "PGAPPNAME": "scheduler-1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "scheduler-1"


def test_a_session_without_a_name_is_told_as_unnamed(lab: EmbeddedLab) -> None:
    assert [lab.name_of(client) for client in ("scheduler-1", "127.0.0.1", "")] == [
        "scheduler-1",
        "unnamed",
        "unnamed",
    ]


def test_a_frozen_scheduler_is_a_problem_until_it_goes_on(lab: EmbeddedLab) -> None:
    lab.pause("scheduler-1")
    assert eventually(lambda: "scheduler-1 is frozen" in lab.problems(), 5)
    lab.resume("scheduler-1")
    assert eventually(lambda: lab.problems() == [], 40)


def test_a_run_ends_and_cleaning_removes_it(lab: EmbeddedLab) -> None:
    dag_id = lab.api.dag_ids()[0]
    lab.api.trigger(dag_id, "to-be-cleaned")
    client = lab.kubernetes()
    assert eventually(lambda: bool(client.list_namespaced_pod(lab.namespace).items))
    lab.clean()
    assert lab.api.runs() == []
    assert client.list_namespaced_pod(lab.namespace).items == []


def test_a_killed_scheduler_is_a_problem_and_can_be_started_again(lab: EmbeddedLab) -> None:
    lab.kill("scheduler-2")
    assert eventually(lambda: any("scheduler-2 ended" in a for a in lab.problems()), 5)
    lab.start("scheduler-2")
    assert eventually(lambda: lab.problems() == [], 60)


def test_a_daemon_that_ends_by_itself_comes_back_and_its_end_is_kept(lab: EmbeddedLab) -> None:
    killed_on_purpose = [end.process for end in lab.ends()]
    assert killed_on_purpose == []
    os.kill(lab.state.processes["scheduler-2"].pid, signal.SIGSEGV)
    assert eventually(lambda: len(lab.ends()) == 1, 10)
    [end] = lab.ends()
    assert (end.process, end.exit_code) == ("scheduler-2", -signal.SIGSEGV)
    assert time.time() - 10 < end.at <= end.again <= time.time()
    assert eventually(lambda: lab.problems() == [], 60)
    assert lab.ends() == [end]


def test_a_process_that_is_not_there_is_named_back(lab: EmbeddedLab) -> None:
    with pytest.raises(UserError, match="no process 'scheduler-9'"):
        lab.pause("scheduler-9")


def sessions(directory: Path) -> set[int]:
    state = LabState.load(directory)
    assert state is not None
    return {process.pid for process in state.processes.values()}


def alive(found: set[int]) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in found and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


_OWNER = """
import sys, time
from lab.life import start
from lab.environments.preparation import prepare
from lab.pool import Owner
from lab.spec import LabSpec
me = Owner.me()
lab = start(LabSpec(prepare(sys.argv[1])), owner=(me.pid, me.born))
print(lab.directory, flush=True)
time.sleep(600)
"""


def owned_lab() -> tuple[subprocess.Popen[str], Path]:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, VERSION], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, Path(owner.stdout.readline().strip())


@at_night
def test_sigkill_of_the_owner_leaves_nothing() -> None:
    owner, directory = owned_lab()
    found = sessions(directory)
    assert len(alive(found)) >= 7
    owner.kill()
    owner.wait()
    assert eventually(lambda: not alive(found), 30), alive(found)
    assert eventually(lambda: reap() >= 0 and not directory.exists(), 10)


def test_sigkill_of_owner_and_supervisor_leaves_nothing_after_the_next_start() -> None:
    owner, directory = owned_lab()
    state = LabState.load(directory)
    assert state is not None
    found = sessions(directory)
    os.kill(state.supervisor, signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert eventually(lambda: not is_same_process(state.supervisor, state.created), 5)
    reap()
    assert eventually(lambda: not alive(found), 10), alive(found)
    assert not directory.exists()


def test_an_interrupt_while_booting_leaves_nothing() -> None:
    before = owned_by(None)
    command = [sys.executable, "-m", "lab", "up", "--airflow", VERSION]
    process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    assert eventually(lambda: any(_starting(d) for d in owned_by(None) - before), 20)
    directory = (owned_by(None) - before).pop()
    found = sessions(directory)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not alive(found)
    assert not directory.exists()


def _starting(directory: Path) -> bool:
    state = LabState.load(directory)
    return state is not None and "scheduler-1" in state.processes


def test_a_busy_port_is_one_clear_line_and_leaves_nothing() -> None:
    me = Owner.me()
    before = owned_by(me.pid)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is in use"):
            start(spec(port=port), owner=(me.pid, me.born))
    assert owned_by(me.pid) == before


def test_a_dag_that_does_not_import_ends_the_boot_with_its_error() -> None:
    me = Owner.me()
    before = owned_by(me.pid)
    with pytest.raises(UserError, match="A DAG does not import") as caught:
        start(spec(env={"HA_CHAOS_SHAPES": "no_such_shape"}), owner=(me.pid, me.born))
    assert "no_such_shape" in str(caught.value)
    assert owned_by(me.pid) == before


@at_night
def test_an_airflow_that_reports_another_version_than_was_asked_for_ends_the_boot() -> None:
    me = Owner.me()
    before = owned_by(me.pid)
    other = replace(prepare(VERSION), version="3.0.4")
    with pytest.raises(UserError) as caught:
        start(LabSpec(other), owner=(me.pid, me.born))
    told = f"Airflow 3.0.4 was asked for, but the API server reports {VERSION}."
    assert caught.value.message == told
    assert owned_by(me.pid) == before
