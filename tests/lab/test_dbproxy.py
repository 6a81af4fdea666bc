"""The proxy between PostgreSQL and its clients: it slows and cuts the links that it is told to."""

import signal
import socket
import subprocess
import sys
import threading

import psycopg
import pytest

from tests.lab.miniature import Process
from tests.lab.proxied import Proxy, eventually, proxy_to_database, round_trip

pytest_plugins = ["tests.lab.miniature_fixtures", "tests.lab.proxied"]


def test_two_processes_on_one_port_have_latencies_of_their_own(proxy: Proxy, dsn: str) -> None:
    one = proxy.connect(dsn, "scheduler-1")
    two = proxy.connect(dsn, "scheduler-2")
    proxy.put("scheduler-1", latency=0.05)
    proxy.put("scheduler-2", latency=0.5)
    assert 0.1 <= round_trip(one) < 1.0
    assert round_trip(two) >= 1.0
    proxy.heal("scheduler-2")
    assert round_trip(two) < 1.0


def test_connections_made_later_obey_too(proxy: Proxy, dsn: str) -> None:
    proxy.put("scheduler-2", latency=0.1)
    assert round_trip(proxy.connect(dsn, "scheduler-2")) >= 0.2


def test_rules_that_match_add_up(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    proxy.put("*", latency=0.1)
    proxy.put("scheduler-?", latency=0.1, seed=3)
    assert round_trip(connection) >= 0.4
    rule = proxy.links()["scheduler-1"]["rule"]
    assert rule == {"latency": 0.2, "jitter": 0.0, "loss": 0.0, "cut": None, "seed": 3}


def test_a_piece_may_be_lost_to_each_rule(proxy: Proxy, dsn: str) -> None:
    proxy.connect(dsn, "scheduler-1")
    proxy.put("*", loss=0.5)
    proxy.put("scheduler-1", loss=0.5)
    assert proxy.links()["scheduler-1"]["rule"]["loss"] == 0.75


def test_what_is_lost_is_late_and_whole(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    proxy.put("scheduler-1", loss=0.2, seed=5)
    row = connection.execute("SELECT repeat('x', 3000000)").fetchone()
    assert row is not None
    assert len(row[0]) == 3_000_000
    assert proxy.links()["scheduler-1"]["lost"] > 0


def test_the_same_seed_loses_the_same_pieces(dsn: str) -> None:
    lost = []
    for _ in range(2):
        with proxy_to_database(dsn) as proxy:
            connection = proxy.connect(dsn, "scheduler-1")
            proxy.put("scheduler-1", loss=0.3, seed=9)
            lost.append([lost_after(proxy, connection) for _ in range(8)])
    assert lost[0] == lost[1]
    assert 0 < lost[0][-1] < 16


def lost_after(proxy: Proxy, connection: psycopg.Connection) -> int:
    round_trip(connection)
    return int(proxy.links()["scheduler-1"]["lost"])


def test_a_rule_keeps_the_fields_that_a_change_does_not_name(proxy: Proxy) -> None:
    proxy.put("scheduler-1", latency=0.1)
    assert proxy.put("scheduler-1", jitter=0.05).json()["latency"] == 0.1


def test_carries_large_results_and_copies_whole(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    proxy.put("scheduler-1", latency=0.01, jitter=0.005)
    row = connection.execute("SELECT repeat('x', 20000000)").fetchone()
    assert row is not None
    assert len(row[0]) == 20_000_000
    connection.execute("CREATE TEMPORARY TABLE t (n integer)")
    with connection.cursor().copy("COPY t FROM STDIN") as copy:
        for number in range(200_000):
            copy.write_row((number,))
    assert connection.execute("SELECT sum(n) FROM t").fetchone() == (19_999_900_000,)


def test_cancels_a_statement(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    threading.Timer(0.3, connection.cancel).start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")
    assert "cancel" in proxy.links()


def test_a_dropped_link_hangs_and_goes_on_when_healed(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    proxy.put("scheduler-1", cut="drop")
    done = threading.Event()

    def run() -> None:
        connection.execute("CREATE TABLE written (n integer)")
        done.set()

    threading.Thread(target=run, daemon=True).start()
    assert not done.wait(0.3)
    proxy.heal("scheduler-1")
    assert done.wait(10)


def test_a_reset_link_is_an_error_and_can_be_made_anew_when_healed(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    proxy.put("*", cut="reset")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(dsn, "scheduler-1")
    proxy.heal()
    assert round_trip(proxy.connect(dsn, "scheduler-1")) < 5


def test_the_server_loses_a_session_with_its_client(
    proxy: Proxy, dsn: str, scheduler_1: Process
) -> None:
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'scheduler-9'"
    connection = proxy.connect(dsn, "scheduler-9")
    assert len(scheduler_1.run(sessions)) == 1
    connection.close()
    assert eventually(lambda: not scheduler_1.run(sessions))


def test_the_client_hears_that_the_server_ended_its_session(
    proxy: Proxy, dsn: str, scheduler_1: Process
) -> None:
    connection = proxy.connect(dsn, "scheduler-9")
    scheduler_1.run(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
    with pytest.raises(psycopg.errors.AdminShutdown):
        connection.execute("SELECT 1")


def test_tells_what_each_process_has_sent_also_after_its_end(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "")
    before = proxy.links()["unnamed"]
    connection.execute("SELECT repeat('x', 5000)")
    connection.close()
    assert eventually(lambda: proxy.links()["unnamed"]["connections"] == 0)
    after = proxy.links()["unnamed"]
    assert (before["connections"], after["opened"]) == (1, 1)
    assert after["down"] - before["down"] > 5000
    assert after["up"] > before["up"] > 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"latency": -1}, "latency must be seconds from 0 to 3600, not -1"),
        ({"jitter": "1"}, "jitter must be seconds from 0 to 3600, not '1'"),
        ({"cut": "hard"}, 'cut must be null, "drop" or "reset", not \'hard\''),
        ({"loss": 1}, "loss must be a share from 0 to under 1, not 1"),
        ({"loss": True}, "loss must be a share from 0 to under 1, not True"),
        ({"seed": 0.5}, "seed must be a whole number, not 0.5"),
        ({"delay": 1}, "the body must be an object with some of latency, jitter, loss, cut, seed"),
    ],
)
def test_refuses_a_rule_that_makes_no_sense(
    proxy: Proxy, fields: dict[str, object], reason: str
) -> None:
    answer = proxy.put("scheduler-1", **fields)
    assert (answer.status_code, answer.json()) == (400, {"error": reason})


@pytest.mark.parametrize(
    "request_",
    [b"\r\n\r\n", b"PUT /rules/a HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"x" * 100_000],
)
def test_its_control_survives_bad_requests(proxy: Proxy, request_: bytes) -> None:
    host, _, port = proxy.control.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
        assert b" 400 " in client.recv(1000)
    assert proxy.links() == {}


def test_ends_with_zero_when_told_to(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(10) == 0
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab.dbproxy", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_a_busy_port_is_one_line_and_exit_code_2(proxy: Proxy) -> None:
    taken = f"{proxy.address[0]}:{proxy.address[1]}"
    ended = run("--upstream", "127.0.0.1:1", "--listen", taken)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "address already in use" in ended.stderr


def test_a_bad_address_is_exit_code_2() -> None:
    ended = run("--upstream", "database")
    assert ended.returncode == 2
    assert "'database' is not HOST:PORT" in ended.stderr
