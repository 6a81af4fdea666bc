"""Labs are leased one test at a time, stay warm between tests, and are replaced when they must."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from chaos.link_loss import LinkLoss
from common.paths import PROJECT
from lab.environments.preparation import prepare
from lab.pool import Owner, Pool
from lab.spec import LabSpec
from lab.state import ProcessState
from lab.supervised import SupervisedLab
from tests.labs import at_night, eventually

pytestmark = pytest.mark.xdist_group("labs-3")
VERSION = "3.0.6"
WIDE = {"HA_CHAOS_SHAPES": "wide:2"}

_RIVAL = """
import json, sys
from pathlib import Path
from lab.environments.preparation import prepare
from common.errors import UserError
from lab.pool import Owner, Pool
from lab.spec import LabSpec
pool = Pool(Path(sys.argv[1]), 1, Owner(int(sys.argv[2]), float(sys.argv[3])))
try:
    with pool.lease(LabSpec(prepare(sys.argv[4])), timeout=float(sys.argv[5])) as lab:
        print(lab.directory)
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    pool = Pool(tmp_path_factory.mktemp("pool"), 1, Owner.me())
    yield pool
    pool.close()


def rival(pool: Pool, timeout: float) -> str:
    """Let another process of the session lease a lab; return what it got, or why not."""
    owner = asdict(pool.owner)
    arguments = [pool.root, owner["pid"], owner["born"], VERSION, timeout]
    done = subprocess.run(
        [sys.executable, "-c", _RIVAL, *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=480,
    )
    return done.stdout.strip()


def test_a_leased_lab_is_nobody_elses_and_stays_warm_for_the_next(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        asked = lab.logs()["api-server"].read_text(errors="replace")
        assert "/execution/health" in asked, "its first worker waits for what a request has made"
        lab.api.trigger(lab.api.dag_ids()[0], "left-by-the-first")
        assert "No lab became free" in rival(pool, 0.5)
        first = lab.directory
    assert Path(rival(pool, 10)) == first
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        assert lab.directory == first
        assert lab.api.runs() == []


def test_a_lab_that_cannot_be_cleaned_boots_again_once(pool: Pool) -> None:
    spec, pids = LabSpec(prepare(VERSION)), []
    for reuse in (False, True, True):
        with pool.lease(spec, reuse=reuse) as lab:
            pids.append((lab.directory, lab.state.processes["scheduler-1"].pid))
    assert pids[0] != pids[1] == pids[2]
    assert pids[0][0] == pids[1][0]


@pytest.mark.parametrize("other", [{}, WIDE], ids=["cleaned", "booted-again"])
def test_what_a_killed_test_has_changed_is_undone(pool: Pool, other: Mapping[str, str]) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        LinkLoss("scheduler-2", loss=0.01).on(lab).begin()
        lab.api.pause_dag(lab.api.dag_ids()[0], paused=True)
        lab.api.resize_pool("default_pool", 3)
        assert links(lab)["scheduler-2"]["rule"]["loss"] > 0.0
    with pool.lease(LabSpec(prepare(VERSION), env=dict(other))) as again:
        assert again.directory == lab.directory
        assert {link["rule"]["loss"] for link in links(again).values()} == {0.0}
        assert again.api.paused() == []
        assert again.api.slots("default_pool") == 128


def links(lab: SupervisedLab) -> dict[str, Any]:
    """Return what the database proxy says of each process."""
    return dict(requests.get(f"{lab.proxy_control}/links", timeout=10).json())


def test_a_lab_boots_again_as_another_in_its_place(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        lab.api.trigger(lab.api.dag_ids()[0], "left-by-the-first")
        first = lab.state.processes
        assert lab.problems() == []
    with pool.lease(LabSpec(prepare(VERSION), schedulers=3, env=WIDE)) as again:
        assert again.directory == lab.directory
        assert again.schedulers == ("scheduler-1", "scheduler-2", "scheduler-3")
        assert again.problems() == []
        assert again.api.dag_ids() == ["wide-2"]
        assert again.api.runs() == []
        assert stayed(first, again) == {
            *("dbproxy", "workerproxy", "fork-server-api-server", "fork-server-scheduler"),
        }
        assert sessions(again) <= {*again.daemons, "ha-chaos", "recorder", "task"}


@at_night
def test_what_imports_have_read_is_imported_again_where_it_changes(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION), env=WIDE)) as lab:
        first = lab.state.processes
    # Read by airflow/executors/base_executor.py when it is imported.
    env = {**WIDE, "AIRFLOW__CORE__PARALLELISM": "7"}
    with pool.lease(LabSpec(prepare(VERSION), env=env)) as again:
        assert "fork-server-scheduler" not in stayed(first, again)
        assert again.problems() == []


@at_night
def test_a_cold_lab_has_daemons_of_its_own(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION), cold=True)) as lab:
        for daemon in lab.daemons:
            process = psutil.Process(lab.state.processes[daemon].pid)
            assert process.ppid() == lab.state.supervisor
        assert lab.problems() == []


def test_a_fork_is_shown_by_the_command_that_it_runs(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        for daemon in ("scheduler-1", "dag-processor", "api-server"):
            line = " ".join(psutil.Process(lab.state.processes[daemon].pid).cmdline())
            # The API server gives itself another title, cold or not.
            assert f"airflow {daemon.removesuffix('-1')}" in line.replace("_", "-")


def test_a_killed_fork_starts_again(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        lab.kill("scheduler-2")
        assert eventually(lambda: lab.state.processes["scheduler-2"].exit_code == -9)
        lab.start("scheduler-2")
        assert eventually(lambda: lab.problems() == [])


def test_a_lab_that_ails_is_not_leased_as_it_is(pool: Pool) -> None:
    spec = LabSpec(prepare(VERSION), schedulers=3)
    with pool.lease(spec) as lab:
        killed = lab.state.processes["kubelet"].pid
        lab.kill("kubelet")
    with pool.lease(spec) as lab:
        assert lab.state.processes["kubelet"].pid != killed
        assert lab.problems() == []


@at_night
def test_a_lab_whose_supervisor_is_gone_is_replaced(pool: Pool) -> None:
    spec = LabSpec(prepare(VERSION), schedulers=3)
    with pool.lease(spec) as lab:
        first = lab.directory
        os.kill(lab.state.supervisor, signal.SIGKILL)
    with pool.lease(spec) as lab:
        assert lab.directory != first
        assert lab.problems() == []


def stayed(before: Mapping[str, ProcessState], lab: SupervisedLab) -> set[str]:
    """Return the names of the processes that were there before."""
    return {name for name, each in lab.state.processes.items() if before.get(name) == each}


def sessions(lab: SupervisedLab) -> set[str]:
    """Return what the sessions of the lab's database are called, those that the server has not."""
    with psycopg.connect(lab.dsn()) as connection:
        rows = connection.execute(
            "SELECT application_name FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ).fetchall()
    return {name for (name,) in rows}
