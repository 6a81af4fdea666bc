"""Floods against peers that are broken: what an API server does on its worst days.

The peers are real HTTP servers; none of them pretends to be a working Airflow.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.errors import UserError
from load.flood import Flood
from load.plan import Asked
from load.report import FloodReport
from load.tally import GIVE_UP_SECONDS, lines
from tests import poisoned

ENDED = "2026-11-22T11:00:00Z"

Reply = Callable[["Peer"], None]


class Peer(BaseHTTPRequestHandler):
    """Lets everybody in, and answers the rest as `reply` does."""

    reply: Reply
    login = True

    def answer(self, status: int, text: str, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/auth/token" and type(self).login:
            self.answer(201, json.dumps({"access_token": "t"}))
        else:
            type(self).reply(self)

    do_GET = do_POST = handle_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""


def failing(request: Peer) -> None:
    request.answer(500, "{}")


@contextmanager
def peer(reply: Reply, *, login: bool = True) -> Iterator[str]:
    handler = type("OnePeer", (Peer,), {"reply": staticmethod(reply), "login": login})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def flood(url: str, directory: Path, **options: Any) -> Flood:
    times = {"run_time": 20, "patience": 2.0}
    times |= {name: options.pop(name) for name in times.keys() & options.keys()}
    asked = Asked(**{"dag_ids": ("wide",), "runs": 2, "rate": 50.0, "seed": 1, **options})
    return Flood(url, directory, asked, **times)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def test_an_api_server_that_never_answers_ends_the_flood_with_one_line(
    silent: str, tmp_path: Path
) -> None:
    with flood(silent, tmp_path) as asked, pytest.raises(UserError) as caught:
        asked.wait(240)
    assert "lets no flood in: no token from /auth/token (no answer" in caught.value.message
    assert str(tmp_path / "flood.log") in caught.value.hint
    assert FloodReport.load(tmp_path / "flood.json").triggered == 0


def test_a_port_without_a_server_ends_the_flood_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with flood(url, tmp_path) as asked, pytest.raises(UserError, match="no token"):
            asked.wait(240)


def test_error_answers_are_counted_and_the_load_falls_short(tmp_path: Path) -> None:
    with peer(failing) as url, flood(url, tmp_path, run_time=4, users=1) as asked:
        report = asked.wait()
    assert (report.triggered, report.finished) == (0, 0)
    assert report.failures > 2
    assert any("dagRuns: 500" in error for error in report.errors)
    assert report.shortfall() == "0 of 2 runs were triggered"


def test_locusts_own_settings_of_a_user_are_none_of_the_floods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/.locust.conf, locust.conf where the session is run, LOCUST_ variables; and netrc."""
    for name, value in poisoned.shell(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locust.conf").write_text("tags = no-such\n")
    seen = []

    def reply(request: Peer) -> None:
        seen.append(request.headers["Authorization"])
        failing(request)

    with peer(reply) as url, flood(url, tmp_path / "run", run_time=4, users=1) as asked:
        report = asked.wait()
    assert any("dagRuns: 500" in error for error in report.errors)
    assert set(seen) == {"Bearer t"}


def failing_like_airflow(request: Peer) -> None:
    detail = {
        "reason": "Database error",
        "statement": "INSERT INTO task_instance",
        "orig_error": 'record "new" has no field "map_index"\nCONTEXT:  PL/pgSQL function',
        "message": "Error with id 1491mR5B",
    }
    request.answer(500, json.dumps({"detail": detail}))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_fails_from_the_start_ends_the_flood_soon_and_with_its_reason(
    tmp_path: Path, workers: int
) -> None:
    with (
        peer(failing_like_airflow) as url,
        flood(url, tmp_path, run_time=120, patience=30.0, workers=workers) as asked,
        pytest.raises(UserError) as caught,
    ):
        asked.wait(240)
    assert FloodReport.load(tmp_path / "flood.json").seconds < 60
    assert caught.value.message == (
        f"The API server at {url} lets no flood in: it takes no run, each is answered 500: "
        'record "new" has no field "map_index" CONTEXT: PL/pgSQL function.'
    )
    assert FloodReport.load(tmp_path / "flood.json").triggered == 0


def test_a_server_that_fails_to_let_anybody_in_ends_the_flood_as_soon(tmp_path: Path) -> None:
    def reply(request: Peer) -> None:
        request.answer(503, '{"detail": "starting"}')

    with (
        peer(reply, login=False) as url,
        flood(url, tmp_path, run_time=120, patience=60.0) as asked,
        pytest.raises(UserError, match=r"no token from /auth/token \(503"),
    ):
        asked.wait(240)
    assert FloodReport.load(tmp_path / "flood.json").seconds < 60


def test_a_server_that_takes_runs_and_then_fails_is_waited_for(tmp_path: Path) -> None:
    """As long as `run_time`, and with the report of a load that fell short."""
    taken: list[str] = []

    def reply(request: Peer) -> None:
        if request.path == "/api/v2/dags/wide/dagRuns" and not taken:
            taken.append(request.path)
            request.answer(200, "{}")
        else:
            request.answer(500, "{}")

    with peer(reply) as url, flood(url, tmp_path, users=0, run_time=11) as asked:
        report = asked.wait()
    assert (report.triggered, report.error) == (1, None)
    assert report.seconds > GIVE_UP_SECONDS + 2


def test_routes_that_this_airflow_lacks_are_no_failures(tmp_path: Path) -> None:
    def reply(request: Peer) -> None:
        if request.command == "GET":
            request.answer(200, "<html></html>", "text/html")
        else:
            request.answer(404, '{"detail": "The Dag with ID: `wide` was not found"}')

    with peer(reply) as url, flood(url, tmp_path, users=2, run_time=4, patience=0.5) as asked:
        report = asked.wait()
    assert report.absent
    polls = {name: each for name, each in report.endpoints.items() if name.startswith("GET /ui")}
    assert polls
    assert not sum(each.failures for each in polls.values())
    assert all(error.startswith("POST") for error in report.errors)


def test_without_ui_users_nothing_of_the_ui_is_asked_for(tmp_path: Path) -> None:
    with peer(failing) as url, flood(url, tmp_path, users=0, run_time=3) as asked:
        report = asked.wait()
    assert report.asked.users == 0
    assert not [name for name in report.endpoints if "/ui/" in name]


def test_a_run_whose_answer_was_lost_is_triggered_once_and_under_the_same_id(
    tmp_path: Path,
) -> None:
    """The peer makes the run and hangs up; to the second request it says that it has it."""
    made: list[str] = []

    def reply(request: Peer) -> None:
        if request.path != "/api/v2/dags/wide/dagRuns":
            ended = [
                {"dag_id": "wide", "dag_run_id": run, "state": "success", "end_date": ENDED}
                for run in set(made)
            ]
            return request.answer(200, json.dumps({"dag_runs": ended, "state": "running"}))
        made.append(json.loads(request.body)["dag_run_id"])
        if made.count(made[-1]) == 1:
            request.close_connection = True
            return None
        return request.answer(409, '{"detail": "there is one"}')

    with peer(reply) as url, flood(url, tmp_path, users=0, runs=3) as asked:
        report = asked.wait()
    assert sorted(made) == sorted([f"flood-1-{n}" for n in range(3)] * 2)
    assert (report.triggered, report.finished, report.ended) == (3, 3, {"success": 3})
    assert [line.op for line in lines(asked.runs_path)].count("triggered") == 3


def test_a_run_id_that_was_there_before_is_not_taken_for_ours(tmp_path: Path) -> None:
    def reply(request: Peer) -> None:
        triggering = request.path == "/api/v2/dags/wide/dagRuns"
        request.answer(409 if triggering else 200, '{"dag_runs": []}')

    with peer(reply) as url, flood(url, tmp_path, users=0) as asked:
        report = asked.wait()
    assert report.triggered == 0
    assert report.errors == {'POST /api/v2/dags/{dag_id}/dagRuns: 409: {"dag_runs": []}': 2}


def test_a_flood_that_is_stopped_has_a_report_and_leaves_no_process(tmp_path: Path) -> None:
    with peer(failing) as url:
        asked = flood(url, tmp_path, run_time=60)
        with asked:
            deadline = time.monotonic() + 30
            while "All users spawned" not in asked.log_path.read_text():
                assert time.monotonic() < deadline, "the flood did not begin"
                time.sleep(0.1)
            time.sleep(1.5)
            assert asked.running
            report = asked.stop()
            assert asked.stop() == report
            assert not asked.running
    assert report.shortfall() == "0 of 2 runs were triggered"
    assert (tmp_path / "flood_stats.csv").exists()


def test_leaving_the_flood_by_an_exception_ends_locust(silent: str, tmp_path: Path) -> None:
    asked = flood(silent, tmp_path, patience=60.0)

    def interrupted() -> None:
        with asked:
            assert asked.running
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not asked.running


def test_locust_dies_with_whoever_started_it(silent: str, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from load.flood import Flood\n"
        "from load.plan import Asked\n"
        "asked = Asked(dag_ids=('wide',), runs=1, rate=1, seed=1)\n"
        "flood = Flood(sys.argv[1], Path(sys.argv[2]), asked)\n"
        "flood.start(); print(flood._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, silent, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    locust = int(parent.stdout.readline())
    assert psutil.pid_exists(locust)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(locust)


def test_a_flood_that_was_never_started_says_so(silent: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="never started"):
        flood(silent, tmp_path).stop()


def test_the_terminal_stays_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with peer(failing) as url, flood(url, tmp_path, run_time=3) as asked:
        asked.wait()
    assert capfd.readouterr() == ("", "")
    assert "dagRuns" in (tmp_path / "flood.log").read_text()
