"""Floods by several Locust processes: the same runs, one report, and no worker lost in silence."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from common.errors import UserError
from load.flood import Flood
from load.plan import Asked
from load.report import FloodReport
from load.tally import lines
from tests.lab.test_flood import ENDED, Peer, failing, flood, gone, peer

DAG_IDS = ("wide", "deep", "single")


@contextmanager
def airflow(*, ending: bool = True) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Serve an API that makes every run it is asked for, and tells all of them as ended."""
    made: list[tuple[str, str]] = []

    def reply(request: Peer) -> None:
        if request.path.endswith("/list"):
            ended = [
                {"dag_id": dag_id, "dag_run_id": run, "state": "success", "end_date": ENDED}
                for dag_id, run in (made if ending else [])
            ]
            return request.answer(200, json.dumps({"dag_runs": ended}))
        if request.command == "POST":
            made.append((request.path.split("/")[4], json.loads(request.body)["dag_run_id"]))
        return request.answer(200, '{"state": "running"}')

    with peer(reply) as url:
        yield url, made


def flooded(directory: Path, workers: int) -> tuple[Flood, FloodReport, list[tuple[str, str]]]:
    with airflow() as (url, made):
        wanted = Asked(dag_ids=DAG_IDS, runs=20, rate=20.0, seed=3, workers=workers)
        asked = Flood(url, directory, wanted)
        with asked:
            report = asked.wait(240)
    return asked, report, made


def workers_of(asked: Flood, count: int) -> list[psutil.Process]:
    """Return the worker processes once they are there."""
    assert asked._process is not None
    master, deadline = psutil.Process(asked._process.pid), time.monotonic() + 20
    while len(found := master.children()) < count:
        assert time.monotonic() < deadline, "the workers did not come"
        time.sleep(0.02)
    return found


def until_triggered(asked: Flood, count: int) -> None:
    deadline = time.monotonic() + 30
    while sum(line.op == "triggered" for line in lines(asked.runs_path)) < count:
        assert time.monotonic() < deadline, "the flood did not begin"
        time.sleep(0.05)


def test_the_seed_decides_on_the_runs_whatever_the_number_of_workers(tmp_path: Path) -> None:
    _, alone, expected = flooded(tmp_path / "alone", 0)
    for workers in (1, 3):
        _, report, made = flooded(tmp_path / str(workers), workers)
        assert sorted(made) == sorted(expected)
        assert (report.triggered, report.finished) == (alone.triggered, alone.finished) == (20, 20)


def test_workers_leave_one_report_and_one_journal_in_the_order_of_time(tmp_path: Path) -> None:
    asked, report, _ = flooded(tmp_path, 2)
    told = list(lines(asked.runs_path))
    assert [line.t for line in told] == sorted(line.t for line in told)
    assert Counter(line.op for line in told) == {"triggered": 20, "finished": 20}
    assert (report.lost, report.error, report.asked.workers) == (None, None, 2)
    assert report.ended == {"success": 20}
    triggers = report.endpoints["POST /api/v2/dags/{dag_id}/dagRuns"]
    assert (triggers.requests, triggers.failures) == (20, 0)
    assert report.endpoints["GET /auth/token"].requests == 2
    assert report.requests == sum(each.requests for each in report.endpoints.values())
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["flood.json"]


def test_requests_that_fail_in_a_worker_are_in_the_report(tmp_path: Path) -> None:
    with peer(failing) as url, flood(url, tmp_path, run_time=4, users=0, workers=2) as asked:
        report = asked.wait()
    assert report.lost is None
    assert "POST /api/v2/dags/{dag_id}/dagRuns: 500: {}" in report.errors
    assert report.shortfall() == "0 of 2 runs were triggered"


@pytest.mark.parametrize(
    ("count", "number", "says"),
    [
        (2, signal.SIGKILL, "worker 2 of 2 ended with -9"),
        (2, signal.SIGSTOP, "one of 2 workers does not answer any more"),
        (1, signal.SIGSTOP, "one of 1 workers does not answer any more"),
    ],
)
def test_a_lost_worker_ends_the_flood_and_makes_its_load_fall_short(
    tmp_path: Path, count: int, number: signal.Signals, says: str
) -> None:
    with airflow() as (url, made), flood(url, tmp_path, runs=300, rate=10, workers=count) as asked:
        until_triggered(asked, 4)
        workers = workers_of(asked, count)
        workers[-1].send_signal(number)
        report = asked.wait(120)
    assert report.lost == says
    assert report.shortfall() == f"{says}, after {report.triggered} of 300 runs"
    assert report.triggered < 300
    assert len(made) == len(set(made)), "another worker asked for the lost one's runs again"
    assert all(gone(worker.pid) for worker in workers)


def test_a_worker_that_ends_before_the_flood_begins_is_reported(tmp_path: Path) -> None:
    with airflow() as (url, made), flood(url, tmp_path, workers=2) as asked:
        workers = workers_of(asked, 2)
        workers[0].kill()
        report = asked.wait(120)
    assert report.shortfall() == (
        "worker 1 of 2 ended with -9 before the flood began, after 0 of 2 runs"
    )
    assert made == []
    assert all(gone(worker.pid) for worker in workers)


def test_workers_that_nobody_lets_in_end_the_flood_with_one_line(tmp_path: Path) -> None:
    with peer(failing) as url:
        locked = f"{url}/nowhere"
        with flood(locked, tmp_path, workers=2) as asked, pytest.raises(UserError) as caught:
            asked.wait(120)
    assert "lets no flood in: no token from /auth/token (500" in caught.value.message


def test_a_flood_of_workers_that_is_stopped_has_a_report_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    with airflow(ending=False) as (url, _), flood(url, tmp_path, runs=4, workers=2) as asked:
        until_triggered(asked, 4)
        workers = workers_of(asked, 2)
        report = asked.stop()
    assert (report.triggered, report.finished, report.lost) == (4, 0, None)
    assert all(gone(worker.pid) for worker in workers)


def test_workers_die_with_whoever_started_the_flood(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from load.flood import Flood\n"
        "from load.plan import Asked\n"
        "asked = Asked(dag_ids=('wide',), runs=9, rate=9, seed=1, workers=2)\n"
        "flood = Flood(sys.argv[1], Path(sys.argv[2]), asked)\n"
        "flood.start(); print(flood._process.pid, flush=True); time.sleep(60)"
    )
    with airflow(ending=False) as (url, _):
        parent = subprocess.Popen(
            [sys.executable, "-c", code, url, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        master = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + 20
        while len(workers := master.children()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(workers) == 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
        assert all(gone(process.pid) for process in (master, *workers))
