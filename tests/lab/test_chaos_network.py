"""Faults of database links: through a real proxy, healed whatever happens."""

import re
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import psycopg
import pytest

from chaos.database_link import LinkFault
from chaos.link_cut import LinkCut
from chaos.link_loss import LinkLoss
from chaos.network_latency import NetworkLatency
from common.errors import UserError
from tests.lab.miniature import lab
from tests.lab.proxied import Proxy, round_trip

pytest_plugins = ["tests.lab.miniature_fixtures", "tests.lab.proxied"]


def test_latency_slows_its_process_and_heals(proxy: Proxy, dsn: str) -> None:
    one = proxy.connect(dsn, "scheduler-1")
    two = proxy.connect(dsn, "scheduler-2")
    with NetworkLatency("scheduler-2", 0.5).on(lab(dsn, proxy.control)):
        assert round_trip(one) < 1.0
        assert round_trip(two) >= 1.0
    assert round_trip(two) < 1.0


def test_loss_makes_its_process_wait_for_what_is_sent_again_and_heals(
    proxy: Proxy, dsn: str
) -> None:
    one = proxy.connect(dsn, "scheduler-1")
    two = proxy.connect(dsn, "scheduler-2")
    with LinkLoss("scheduler-2", 0.3, seed=1).on(lab(dsn, proxy.control)) as fault:
        assert not fault.fired()
        assert sum(round_trip(two) for _ in range(10)) >= 0.2
        assert fault.fired()
        assert min(round_trip(one) for _ in range(5)) < 0.2
    assert proxy.links()["scheduler-1"]["lost"] == 0
    lost = proxy.links()["scheduler-2"]["lost"]
    for _ in range(20):
        round_trip(two)
    assert proxy.links()["scheduler-2"]["lost"] == lost


def test_a_fault_that_struck_nobody_did_not_fire(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    fault = NetworkLatency("scheduler-1", 0.01).on(lab(dsn, proxy.control))
    with fault:
        assert not fault.fired()
        round_trip(connection)
        assert fault.fired()
    assert fault.fired()


def test_a_star_slows_every_process(proxy: Proxy, dsn: str) -> None:
    names = ("scheduler-1", "api-server")
    connections = [proxy.connect(dsn, name) for name in names]
    with NetworkLatency("*", 0.1, jitter=0.02, seed=7).on(lab(dsn, proxy.control)):
        assert all(round_trip(connection) >= 0.16 for connection in connections)
        rule = proxy.links()["api-server"]["rule"]
    assert rule == {"latency": 0.1, "jitter": 0.02, "loss": 0.0, "cut": None, "seed": 7}


def test_a_cut_bites_on_top_of_latency_and_heals_by_itself(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    here = lab(dsn, proxy.control)
    with NetworkLatency("scheduler-1", 0.1).on(here):
        with LinkCut("scheduler-1", "reset").on(here), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        rule = proxy.links()["scheduler-1"]["rule"]
        assert (rule["cut"], rule["latency"]) == (None, 0.1)
    assert round_trip(proxy.connect(dsn, "scheduler-1")) < 5


def test_a_dropped_link_is_whole_again_after_the_fault(proxy: Proxy, dsn: str) -> None:
    connection = proxy.connect(dsn, "scheduler-1")
    with LinkCut("scheduler-1", "drop").on(lab(dsn, proxy.control)):
        assert proxy.links()["scheduler-1"]["rule"]["cut"] == "drop"
    assert round_trip(connection) < 5


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (
            NetworkLatency("scheduler-1", 0.05, jitter=0.01),
            "0.05 s ± 0.01 s (seed 2) each way on the database link",
        ),
        (LinkCut("scheduler-1", "drop"), "database link cut by drop"),
        (
            LinkLoss("scheduler-1", 0.05),
            "5 % (seed 2) of the pieces lost each way on the database link, sent again after 0.2 s",
        ),
    ],
)
def test_heals_when_the_test_fails_and_records_it(
    proxy: Proxy, dsn: str, fault: LinkFault, detail: str
) -> None:
    told: list[tuple[str, ...]] = []
    here = lab(proxy_control=proxy.control)

    def fail() -> None:
        with fault.on(here, lambda *event: told.append(event), seed=2):
            raise ZeroDivisionError

    proxy.connect(dsn, "scheduler-1").close()
    with pytest.raises(ZeroDivisionError):
        fail()
    rule = proxy.links()["scheduler-1"]["rule"]
    assert rule == {"latency": 0.0, "jitter": 0.0, "loss": 0.0, "cut": None, "seed": 0}
    assert told == [
        ("begin", fault.name, "scheduler-1", detail),
        ("end", fault.name, "scheduler-1", ""),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinkCut("s", "softly"), "A link is cut by reset or drop, not 'softly'."),
        (lambda: LinkLoss("s", 1.0), "The loss must be a share from 0 to under 1."),
        (lambda: NetworkLatency("s", -0.1), "The latency must be 0 s or more."),
        (lambda: NetworkLatency("s", 1, jitter=-0.1), "The jitter must be 0 s or more."),
    ],
)
def test_a_link_that_cannot_be_is_refused_where_the_fault_is_made(
    make: Callable[[], LinkFault], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make()


def test_what_the_proxy_refuses_is_one_clear_line(proxy: Proxy) -> None:
    class Softly(LinkFault):
        name = "softly"
        detail = "cut softly"
        rule: ClassVar[dict[str, Any]] = {"cut": "softly"}

    with pytest.raises(UserError, match='cut must be null, "drop" or "reset"'):
        Softly("scheduler-1").on(lab(proxy_control=proxy.control)).begin()


def test_a_proxy_that_is_away_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    fault = NetworkLatency("scheduler-1", 0.1).on(lab(proxy_control=f"http://127.0.0.1:{port}"))
    with pytest.raises(UserError, match="The database proxy does not answer"):
        fault.begin()
