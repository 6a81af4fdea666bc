"""Faults of database links: through a real proxy, healed whatever happens."""

import socket

import psycopg
import pytest

from chaos.base import Fault
from chaos.network import LinkCut, LinkLoss, NetworkLatency
from common.errors import UserError
from tests.lab.miniature import lab
from tests.lab.proxied import Proxy, round_trip

pytest_plugins = ["tests.lab.miniature_fixtures", "tests.lab.proxied"]


def test_latency_slows_its_process_and_heals(proxy: Proxy, dsn: str) -> None:
    one = proxy.connect(dsn, "scheduler-1")
    two = proxy.connect(dsn, "scheduler-2")
    with NetworkLatency(lab(dsn, proxy.control), "scheduler-2", 0.5):
        assert round_trip(one) < 1.0
        assert round_trip(two) >= 1.0
    assert round_trip(two) < 1.0


def test_loss_makes_its_process_wait_for_what_is_sent_again_and_heals(
    proxy: Proxy, dsn: str
) -> None:
    one = proxy.connect(dsn, "scheduler-1")
    two = proxy.connect(dsn, "scheduler-2")
    with LinkLoss(lab(dsn, proxy.control), "scheduler-2", 0.3, seed=1) as fault:
        assert not fault.fired()
        assert sum(round_trip(two) for _ in range(10)) >= 0.2
        assert fault.fired()
        assert round_trip(one) < 0.2
    assert proxy.links()["scheduler-1"]["lost"] == 0
    lost = proxy.links()["scheduler-2"]["lost"]
    for _ in range(20):
        round_trip(two)
    assert proxy.links()["scheduler-2"]["lost"] == lost


def test_a_fault_that_struck_nobody_did_not_fire(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    fault = NetworkLatency(lab(dsn, proxy.control), "scheduler-1", 0.01)
    with fault:
        assert not fault.fired()
        round_trip(connection)
        assert fault.fired()
    assert fault.fired()


def test_a_star_slows_every_process(proxy: Proxy, dsn: str) -> None:
    names = ("scheduler-1", "api-server")
    connections = [proxy.connect(dsn, name) for name in names]
    with NetworkLatency(lab(dsn, proxy.control), "*", 0.1, jitter=0.02, seed=7):
        assert all(round_trip(connection) >= 0.16 for connection in connections)
        rule = proxy.links()["api-server"]["rule"]
    assert rule == {"latency": 0.1, "jitter": 0.02, "loss": 0.0, "cut": None, "seed": 7}


def test_a_cut_bites_on_top_of_latency_and_heals_by_itself(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    here = lab(dsn, proxy.control)
    with NetworkLatency(here, "scheduler-1", 0.1):
        with LinkCut(here, "scheduler-1", "reset"), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        rule = proxy.links()["scheduler-1"]["rule"]
        assert (rule["cut"], rule["latency"]) == (None, 0.1)
    assert round_trip(proxy.connect(dsn, "scheduler-1")) < 5


def test_a_dropped_link_is_whole_again_after_the_fault(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    with LinkCut(lab(dsn, proxy.control), "scheduler-1", "drop"):
        assert proxy.links()["scheduler-1"]["rule"]["cut"] == "drop"
    assert round_trip(connection) < 5


def faults(proxy_control: str, record: list[tuple[str, ...]]) -> list[Fault]:
    def keep(*event: str) -> None:
        record.append(event)

    here = lab(proxy_control=proxy_control)
    return [
        NetworkLatency(here, "scheduler-1", 0.05, jitter=0.01, seed=2, record=keep),
        LinkCut(here, "scheduler-1", "drop", record=keep),
        LinkLoss(here, "scheduler-1", 0.05, seed=2, record=keep),
    ]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_heals_when_the_test_fails_and_records_it(proxy: Proxy, dsn: str, number: int) -> None:
    told: list[tuple[str, ...]] = []
    fault = faults(proxy.control, told)[number]

    def fail() -> None:
        with fault:
            raise ZeroDivisionError

    proxy.connect(dsn, "scheduler-1").close()
    with pytest.raises(ZeroDivisionError):
        fail()
    rule = proxy.links()["scheduler-1"]["rule"]
    assert rule == {"latency": 0.0, "jitter": 0.0, "loss": 0.0, "cut": None, "seed": 0}
    details = (
        "0.05 s ± 0.01 s (seed 2) each way on the database link",
        "database link cut by drop",
        "5 % (seed 2) of the pieces lost each way on the database link, sent again after 0.2 s",
    )
    assert told == [
        ("begin", fault.name, "scheduler-1", details[number]),
        ("end", fault.name, "scheduler-1", ""),
    ]


def test_another_way_to_cut_is_refused(proxy: Proxy) -> None:
    with pytest.raises(UserError, match='cut must be null, "drop" or "reset"'):
        LinkCut(lab(proxy_control=proxy.control), "scheduler-1", "softly").begin()


def test_a_proxy_that_is_away_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    fault = NetworkLatency(lab(proxy_control=f"http://127.0.0.1:{port}"), "scheduler-1", 0.1)
    with pytest.raises(UserError, match="The database proxy does not answer"):
        fault.begin()


def test_says_where_it_is_not_available() -> None:
    assert LinkCut.available(lab(proxy_control="http://127.0.0.1:1")) is None
    assert LinkCut.available(lab()) == "the lab has no proxy in front of its database"
