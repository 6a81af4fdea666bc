"""The proxy of workers' requests: what goes through it, what it writes down, what rules do."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from chaos.api_server_errors import ApiServerErrors
from chaos.dropped_requests import DroppedRequests
from chaos.holds.hold import HoldError
from chaos.holds.worker_request import WorkerRequestHold
from chaos.lost_answers import LostAnswers
from chaos.slow_api_server import SlowApiServer
from chaos.worker_requests import RequestRule
from common.errors import UserError
from tests.lab.proxied import eventually
from tests.lab.worker_proxied import (
    TI,
    Answer,
    ApiServer,
    WorkerProxy,
    api_server,
    worker_proxy,
)

pytest_plugins = ["tests.lab.miniature_fixtures"]

OTHER = TI[:-1] + "2"
CLOSED = "the connection was closed"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


@pytest.fixture
def proxy(server: ApiServer, tmp_path: Path) -> Iterator[WorkerProxy]:
    with worker_proxy(server.url, tmp_path) as proxy:
        yield proxy


def test_a_request_goes_through_as_it_is(server: ApiServer, proxy: WorkerProxy) -> None:
    packed = gzip.compress(b'{"value": 1}')
    server.answer = Answer(
        200,
        {"Content-Encoding": "gzip", "Refreshed-API-Token": "second", "X-Twice": "kept"},
        packed,
    )
    with requests.Session() as session:
        answer = session.put(
            f"{proxy.url}/execution/xcoms/d/r%2F1/t?map_index=-1",
            data=b"x" * 3_000_000,
            headers={"Airflow-API-Version": "2025-04-28", "Authorization": "Bearer first"},
            timeout=10,
            stream=True,
        )
        assert answer.raw.read(decode_content=False) == packed
    assert answer.headers["Refreshed-API-Token"] == "second"
    assert answer.headers["Content-Encoding"] == "gzip"
    [(method, path, headers, body)] = server.asked
    assert (method, path) == ("PUT", "/execution/xcoms/d/r%2F1/t?map_index=-1")
    assert headers["airflow-api-version"] == "2025-04-28"
    assert headers["authorization"] == "Bearer first"
    assert headers["content-length"] == "3000000"
    assert body == b"x" * 3_000_000
    assert proxy.answers(0) == [], "of what is about no task instance only errors are written down"


def test_what_was_answered_is_written_down(server: ApiServer, proxy: WorkerProxy) -> None:
    server.answer = Answer(200, body=b"{}")
    begun = time.monotonic()
    assert proxy.ask("run", state="running", hostname="pod-1").status_code == 200
    server.answer = Answer(409, body=b'{"detail": {"reason": "invalid_state"}}')
    assert proxy.ask("state", state="success").status_code == 409
    assert proxy.ask("state", ti=OTHER, state="failed").json()["detail"]["reason"]
    first, second, third = proxy.answers(3)
    assert [each["n"] for each in (first, second, third)] == [1, 2, 3]
    told = {"ti": TI, "host": "pod-1", "given": True, "by": "api-server"}
    assert first.items() >= (told | {"request": "run", "state": "running", "status": 200}).items()
    assert second.items() >= (told | {"state": "success", "status": 409}).items()
    assert (third["ti"], third["host"], third["state"]) == (OTHER, None, "failed")
    assert begun < first["asked"] <= first["t"] < time.monotonic()


def test_where_no_api_server_is_the_connection_is_closed_and_that_is_written_down(
    tmp_path: Path,
) -> None:
    with worker_proxy("http://127.0.0.1:1", tmp_path) as proxy:
        with pytest.raises(requests.ConnectionError):
            proxy.ask("state", state="success")
        [answer] = proxy.answers(1)
        assert (answer["status"], answer["given"]) == (None, False)


def test_a_request_is_held_before_the_api_server_gets_it(
    server: ApiServer, proxy: WorkerProxy
) -> None:
    told: list[tuple[str, ...]] = []
    hold = WorkerRequestHold(proxy.lab, "state", record=lambda *event: told.append(event))
    with hold:
        asking = proxy.begin("state", state="success")
        assert proxy.ask("heartbeat").status_code == 204, "another kind of request is not held"
        held = hold.wait_held(timeout=40)
        assert (held.ti, held.request, held.state) == (TI, "state", "success")
        assert len(server.asked) == 1
        assert asking.status is None
    asking.join(40)
    assert asking.status == 204
    assert [op for op, *_ in told] == ["hold", "held", "release"]
    assert told[1][1:] == ("state-request", "worker", f"state success of {TI}")
    with pytest.raises(HoldError, match="Nothing holds"):
        hold.held()


def test_an_answer_is_held_when_the_api_server_has_done_what_was_asked(
    server: ApiServer, proxy: WorkerProxy
) -> None:
    with WorkerRequestHold(proxy.lab, "state", when="after") as hold:
        asking = proxy.begin("state", state="success")
        hold.wait_held(timeout=40)
        assert len(server.asked) == 1
        assert (asking.status, proxy.answers(0)) == (None, [])
    asking.join(40)
    assert asking.status == 204


def test_who_came_before_a_moment_passes_and_the_next_is_held(proxy: WorkerProxy) -> None:
    with WorkerRequestHold(proxy.lab, "state") as hold:
        first = proxy.begin("state", state="success")
        hold.wait_held(timeout=40)
        now = time.time()
        second = None
        with pytest.raises(HoldError, match="No state request was held within"):
            hold.wait_held(now, timeout=0.3)
        first.join(40)
        assert first.status == 204
        second = proxy.begin("state", state="failed")
        assert hold.wait_held(now, timeout=40).state == "failed"
        assert second.status is None


def test_one_passes_and_the_next_is_held(proxy: WorkerProxy) -> None:
    with WorkerRequestHold(proxy.lab, "state") as hold:
        first = proxy.begin("state", state="success")
        hold.let_pass(time.time(), 5)
        first.join(40)
        assert first.status == 204
        second = proxy.begin("state", state="failed")
        assert hold.wait_held(timeout=40).state == "failed"
        assert second.status is None


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_held_is_answered_500_or_its_connection_closed(
    server: ApiServer, proxy: WorkerProxy, when: str
) -> None:
    told: list[tuple[str, ...]] = []
    record = lambda *event: told.append(event)  # noqa: E731
    with WorkerRequestHold(proxy.lab, "state", when=when, record=record) as hold:
        with pytest.raises(HoldError, match="No state request is held now"):
            hold.cancel()
        for end, status in ((hold.cancel, 500), (hold.terminate, CLOSED)):
            asking = proxy.begin("state", state="success")
            hold.wait_held(timeout=40)
            end()
            asking.join(40)
            assert asking.status == status
    assert len(server.asked) == (2 if when == "after" else 0)
    assert [op for op, *_ in told] == ["hold", "held", "cancel", "held", "terminate", "release"]


def test_a_hold_dies_with_its_controller(server: ApiServer, proxy: WorkerProxy) -> None:
    program = (
        "import sys, time; from types import SimpleNamespace as Lab;"
        "from chaos.holds.worker_request import WorkerRequestHold as Hold;"
        "hold = Hold(Lab(request_control=sys.argv[1]), 'state'); hold.hold();"
        "print('held', flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", program, proxy.control]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as controller:
        try:
            assert controller.stdout is not None
            assert controller.stdout.readline() == "held\n"
            asking = proxy.begin("state", state="success")
            time.sleep(0.3)
            assert (asking.status, server.asked) == (None, [])
        finally:
            os.kill(controller.pid, signal.SIGKILL)
        asking.join(40)
    assert asking.status == 204


def test_a_slow_api_server_takes_longer_until_it_is_healed(proxy: WorkerProxy) -> None:
    fault = SlowApiServer(0.5, request="state").on(proxy.lab)
    with fault:
        assert not fault.fired()
        begun = time.monotonic()
        proxy.ask("state", state="success")
        assert time.monotonic() - begun >= 0.5
        assert fault.fired()
    begun = time.monotonic()
    with SlowApiServer(600, when="after").on(proxy.lab) as longer:
        asking = proxy.begin("state", state="success")
        assert eventually(longer.fired)
        assert asking.status is None
    asking.join(40)
    assert time.monotonic() - begun < 60
    assert asking.status == 204


def test_dropped_requests_do_not_arrive_and_lost_answers_do(
    server: ApiServer, proxy: WorkerProxy
) -> None:
    with DroppedRequests(state="success").on(proxy.lab) as dropped:
        assert not dropped.fired()
        asking = proxy.begin("state", state="success")
        asking.join(40)
        assert (asking.status, server.asked) == (CLOSED, [])
        assert proxy.ask("state", state="failed").status_code == 204
        assert dropped.fired()
    with LostAnswers(request="state", count=1).on(proxy.lab) as lost:
        asking = proxy.begin("state", state="success")
        asking.join(40)
        assert (asking.status, len(server.asked)) == (CLOSED, 2)
        assert proxy.ask("state", state="success").status_code == 204, "one was to be lost"
        assert lost.fired()
    assert proxy.ask("state", state="success").status_code == 204
    seen = [(each["status"], each["given"]) for each in proxy.answers(5)]
    assert seen == [(None, False), (204, True), (204, False), (204, True), (204, True)]


def test_errors_are_ours_until_the_fault_is_healed(server: ApiServer, proxy: WorkerProxy) -> None:
    told: list[tuple[str, ...]] = []
    fault = ApiServerErrors(status=500, request="run", count=2)
    with fault.on(proxy.lab, lambda *event: told.append(event)):
        assert [proxy.ask("run").status_code for _ in range(3)] == [500, 500, 204]
    with ApiServerErrors().on(proxy.lab):
        assert proxy.ask("heartbeat").status_code == 503
    assert proxy.ask("heartbeat").status_code == 204
    assert len(server.asked) == 2
    assert told[0] == (
        *("begin", "api-server-errors", "worker"),
        "500 to run requests, 2 of them",
    )
    assert [each["by"] for each in proxy.answers(5)] == [
        *("fault", "fault", "api-server", "fault", "api-server"),
    ]


def test_a_task_is_named_by_its_id_alone_with_its_dag_or_by_its_index(
    server: ApiServer, tmp_path: Path, dsn: str
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE task_instance ALTER id DROP DEFAULT, ALTER id TYPE text")
        connection.execute("ALTER TABLE task_instance ADD IF NOT EXISTS map_index text")
        connection.execute("UPDATE task_instance SET id = %s, map_index = '3'", (TI,))
    with worker_proxy(server.url, tmp_path, dsn) as proxy:
        for pattern in ("start", "dag-1.start", "dag-?.*", "start[3]", "dag-1.start[3]"):
            with ApiServerErrors(of=pattern).on(proxy.lab):
                assert proxy.ask("state").status_code == 503, pattern
                assert proxy.ask("state", ti=OTHER).status_code == 204, pattern
        for pattern in ("other", "dag-2.start", "start[4]", "start3"):
            with ApiServerErrors(of=pattern).on(proxy.lab) as fault:
                assert proxy.ask("state").status_code == 204, pattern
                assert not fault.fired()


def test_without_its_database_a_task_that_is_named_is_struck_by_nothing(proxy: WorkerProxy) -> None:
    with ApiServerErrors(of="start").on(proxy.lab):
        assert proxy.ask("state").status_code == 204


def test_a_rule_that_makes_no_sense_is_one_clear_line(proxy: WorkerProxy) -> None:
    for rule, said in (
        ({"do": "burn"}, r"Invalid enum value 'burn'"),
        ({"do": "delay", "seconds": -1}, r">= 0.*seconds"),
        ({"do": "hold", "reqest": "state"}, r"unknown field `reqest`"),
    ):
        with pytest.raises(UserError, match=said):
            RequestRule(proxy.lab, **rule)
    for wrong, message in (
        (lambda: SlowApiServer(0), "The delay must be more than 0 s"),
        (lambda: SlowApiServer(1, when="later"), "before or after, not 'later'"),
        (lambda: ApiServerErrors(status=404), "404 is not a status of 5xx"),
        (lambda: LostAnswers(count=0), "At least 1 request"),
    ):
        with pytest.raises(UserError, match=message):
            wrong()


def test_a_proxy_that_is_gone_is_told_and_a_fault_can_still_be_healed(
    server: ApiServer, tmp_path: Path
) -> None:
    told: list[tuple[str, ...]] = []
    with worker_proxy(server.url, tmp_path) as proxy:
        fault = LostAnswers().on(proxy.lab, lambda *event: told.append(event))
        fault.begin()
    fault.end()
    assert told[-1][-1].startswith("it had ended before: The proxy of workers' requests")
    with pytest.raises(UserError, match="does not answer"):
        RequestRule(proxy.lab, do="lose")


def test_where_answers_cannot_be_written_it_does_not_start(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "lab.workerproxy", "--upstream", "http://127.0.0.1:1"]
    done = subprocess.run(
        [*argv, "--answers", str(tmp_path / "nowhere" / "answers")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written: No such file or directory" in done.stderr
