"""The database is reached wherever the pods' URL leads: any Service, an alias, a sidecar."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest

from common.errors import UserError
from lab.cluster.database import find_database, reached
from lab.cluster.discovery import discover
from tests.deployment.airflow import Airflow
from tests.deployment.attaching import Attached, attach
from tests.deployment.release import (
    alias,
    database,
    endpoint_slice,
    endpoints,
    pod,
    release,
    service,
)
from tests.deployment.standin import Manifest, StandIn

Attach = Callable[..., Attached]


@pytest.fixture
def attached(airflow: Airflow) -> Attach:
    """Return what attaches to a release, whose database is any pod's port 5432."""

    def run(host: str, *manifests: Manifest, port: int = 5432, query: str = "") -> Attached:
        url = airflow.url(host, port, query)
        with StandIn([*release(url=url), *manifests]) as there:
            there.lead("*", 5432, airflow.port)
            return attach(there)

    return run


@pytest.mark.parametrize(
    "host",
    [
        "airflow-db",
        "airflow-db.airflow",
        "airflow-db.airflow.svc",
        "airflow-db.airflow.svc.cluster.local",
        "airflow-db.airflow.svc.corp.example.",
        "Airflow-DB.airflow.svc",
        "10.96.1.9",
    ],
)
def test_a_service_is_known_by_each_of_its_names(attached: Attach, host: str) -> None:
    pods = database()[:1]
    found = attached(
        host, *pods, service("airflow-db", {"app": "airflow-db"}, clusterIP="10.96.1.9")
    )
    assert found.routes[0].selector == "app=airflow-db"
    assert found.role == "airflow"


def test_a_service_of_another_namespace_has_its_pods_there(attached: Attach) -> None:
    found = attached("db.databases", *database("db", "databases"))
    assert (found.routes[0].namespace, found.routes[0].selector) == ("databases", "app=db")
    assert "the pods of Service db in databases" in found.plan


def test_a_service_s_port_leads_to_its_pods_own(attached: Attach) -> None:
    pods = database()[:1]
    named = service("airflow-db", {"app": "airflow-db"}, port=15432, target="postgresql")
    assert attached("airflow-db", *pods, named, port=15432).routes[0].port == 5432
    numbered = service("airflow-db", {"app": "airflow-db"}, port=1234, target=5432)
    assert attached("airflow-db", *pods, numbered, port=1234).routes[0].port == 5432


def test_a_name_of_another_name_of_a_service_is_that_service(attached: Attach) -> None:
    found = attached(
        "airflow-db.airflow.svc",
        alias("airflow-db", "db.airflow.svc.cluster.local"),
        alias("db", "db.databases.svc.cluster.local."),
        *database("db", "databases"),
    )
    assert found.routes[0].namespace == "databases"
    assert "airflow-db.airflow.svc is another name of db.airflow.svc.cluster.local" in found.plan


def test_an_alias_of_a_host_elsewhere_is_connected_to_directly(
    attached: Attach, airflow: Airflow
) -> None:
    found = attached("airflow-db.airflow.svc", alias("airflow-db", "localhost"), port=airflow.port)
    assert found.database.host == "localhost"
    assert "is another name of localhost, directly from this machine" in found.plan


@pytest.mark.parametrize("stands", [endpoints, endpoint_slice])
def test_a_service_without_selector_has_whom_its_addresses_name(
    attached: Attach, stands: Callable[..., Manifest]
) -> None:
    found = attached(
        "db", service("db"), pod("db-0", {}), stands("db", "10.244.3.17", of_pod="db-0")
    )
    assert found.routes[0].selector == "endpoints/db"
    assert "to the pod behind Service db in airflow, db-0 now" in found.plan


@pytest.mark.parametrize("stands", [endpoints, endpoint_slice])
def test_an_address_that_is_no_pod_is_connected_to_directly(
    attached: Attach, airflow: Airflow, stands: Callable[..., Manifest]
) -> None:
    found = attached("db", service("db"), stands("db", "127.0.0.1", port=airflow.port))
    assert (found.database.host, found.database.address) == ("db", "127.0.0.1")
    assert "directly from this machine, at 127.0.0.1" in found.plan


def test_an_address_of_a_pod_is_that_pod(attached: Attach) -> None:
    by_hand = endpoints("db", "10.1.9.9")
    found = attached("db", service("db"), by_hand, pod("db-7", {}))
    assert found.routes[0].selector == "pod/db-7"


@pytest.mark.parametrize(
    "host", ["db-0.db", "db-0.db.airflow", "db-0.db.airflow.svc.cluster.local"]
)
def test_a_pod_of_a_stateful_set_is_known_by_its_name(attached: Attach, host: str) -> None:
    replica = pod("db-0", {"app": "db"})
    replica["spec"]["subdomain"] = "db"
    found = attached(host, replica, service("db", {"app": "db"}, clusterIP="None"))
    assert found.routes[0].selector == "pod/db-0"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_sidecar_is_a_port_of_the_pods_themselves(attached: Attach, host: str) -> None:
    found = attached(host)
    assert found.routes[0].selector == "tier=airflow,component=scheduler,release=airflow"
    assert "port 5432 of the pods themselves" in found.plan


def test_the_loopback_of_a_url_that_is_given_is_this_machine_s(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_DATABASE_URL", airflow.url("127.0.0.1", airflow.port))
    with StandIn(release()) as there:
        found = attach(there)
    assert found.routes[0].selector == ""
    assert "its URL is from HA_CHAOS_DATABASE_URL" in found.plan


def test_each_of_several_hosts_has_its_own_way(attached: Attach) -> None:
    found = attached("", *database("one"), *database("two"), query="?host=one:5432&host=two:5432")
    assert [each.selector for each in found.routes] == ["app=one", "app=two"]
    assert "database: " in found.plan
    assert "one:5432, two:5432" in found.plan


def test_a_host_that_is_down_is_passed_over(airflow: Airflow) -> None:
    url = airflow.url("", 5432).replace("@:5432", "@one,two:5432")
    with StandIn([*release(url=url), *database("one"), *database("two")]) as there:
        there.lead("two-0", 5432, airflow.port)
        assert attach(there).role == "airflow"


def test_after_a_failover_a_new_connection_leads_to_the_new_primary(airflow: Airflow) -> None:
    pods = [pod("db-0", {}), pod("db-1", {})]
    first = endpoints("db", "10.0.0.1", of_pod="db-0")
    with StandIn([*release(url=airflow.url("db")), service("db"), first, *pods]) as there:
        there.lead("db-0", 5432, airflow.port)
        client = there.client()
        database_, routes = find_database(client, discover(client, "airflow"))
        with reached(there.kubeconfig(), database_, routes) as conninfo:
            psycopg.connect(conninfo).close()
            there.put(endpoints("db", "10.0.0.2", of_pod="db-1"))
            there.lead("db-0", 5432, 1)
            there.lead("db-1", 5432, airflow.port)
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(conninfo)
            psycopg.connect(conninfo).close()


DENIED = [
    ("get", "services", "is a Service cannot be seen", "Allow `get services` in namespace airflow"),
    (
        "list",
        "pods",
        "pods in namespace databases cannot be seen",
        "Allow `list pods` in namespace",
    ),
    ("get", "pods/portforward", "cannot be reached", "Allow `get pods/portforward` in namespace"),
]


@pytest.mark.parametrize(("verb", "resource", "what", "rule"), DENIED)
def test_a_right_that_is_missing_is_named(
    airflow: Airflow, verb: str, resource: str, what: str, rule: str
) -> None:
    manifests = [alias("airflow-db", "db.databases.svc"), *database("db", "databases")]
    with StandIn([*release(url=airflow.url()), *manifests]) as there:
        where = "airflow" if resource == "services" else "databases"
        there.deny(verb, resource, namespace=where)
        with pytest.raises(UserError, match=what) as caught:
            attach(there)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_may_see_no_addresses_is_told_both_rules_or_one(airflow: Airflow) -> None:
    parts = [service("db"), pod("db-0", {}), endpoint_slice("db", "10.0.0.1", of_pod="db-0")]
    with StandIn([*release(url=airflow.url("db")), *parts]) as there:
        there.lead("db-0", 5432, airflow.port)
        there.deny("get", "endpoints")
        assert attach(there).routes[0].selector == "endpoints/db", "the slices say it as well"
        there.deny("list", "endpointslices")
        with pytest.raises(UserError, match="addresses behind the Service db in airflow") as caught:
            attach(there)
    assert "Allow `get endpoints` in namespace airflow." in str(caught.value)


def test_what_may_be_a_service_or_a_host_is_tried_and_said(airflow: Airflow) -> None:
    with StandIn(release(url=airflow.url("db.example", 5432))) as there:
        there.deny("get", "services")
        client = there.client()
        database_, routes = find_database(client, discover(client, "airflow"))
        assert (database_.host, routes[0].selector) == ("db.example", "")
        with pytest.raises(UserError, match="Perhaps since whether db") as caught:
            attach(there)
    assert "allow `get services` in namespace example" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "manifests", "what"),
    [
        ("db.airflow.svc", [], "There is no Service db in namespace airflow"),
        ("db", [service("db")], "has no address behind it"),
        ("db", [service("db"), endpoints("db", "10.0.0.1", ready=False)], "has no address"),
        ("db", [service("db"), endpoint_slice("db", "10.0.0.1", ready=False)], "has no address"),
        ("db", [service("db", {"app": "db"})], r"No running pod .* \(app=db\)"),
        ("a", [alias("a", "b.airflow.svc"), alias("b", "a.airflow.svc")], "in a circle"),
        ("", [], "Unix socket, /cloudsql/x/.s.PGSQL.5432"),
    ],
)
def test_a_way_that_leads_nowhere_is_told(
    attached: Attach, host: str, manifests: Sequence[Any], what: str
) -> None:
    with pytest.raises(UserError, match=what):
        attached(host, *manifests, query="" if host else "?host=/cloudsql/x")
