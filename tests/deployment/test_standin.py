"""The stand-in answers the real client as a cluster does, and leads where it is told to."""

import pytest
from kubernetes import watch
from kubernetes.client import ApiException, CoreV1Api, DiscoveryV1Api

from tests.deployment.airflow import Airflow, Player
from tests.deployment.attaching import attach
from tests.deployment.release import database, endpoint_slice, pod, release, secret
from tests.deployment.standin import StandIn


def test_a_release_is_attached_through_a_port_forward(airflow: Airflow) -> None:
    with StandIn([*release(url=airflow.url()), *database()]) as there:
        there.lead("airflow-db-0", 5432, airflow.port)
        found = attach(there)
    assert (found.role, found.routes[0].selector) == ("airflow", "app=airflow-db")
    assert "through a port-forward" in found.plan


def test_objects_are_listed_read_and_watched() -> None:
    with StandIn([endpoint_slice("db", "10.0.0.1"), secret("s", {"k": "v"})]) as there:
        core, discovery = CoreV1Api(there.client()), DiscoveryV1Api(there.client())
        found = discovery.list_namespaced_endpoint_slice(
            "airflow", label_selector="kubernetes.io/service-name=db"
        )
        assert found.items[0].endpoints[0].addresses == ["10.0.0.1"]
        assert core.read_namespaced_secret("s", "airflow").data == {"k": "dg=="}
        there.put(pod("p", {}, phase="Pending"))
        there.put(pod("p", {}, phase="Running"))
        there.remove("Pod", "p")
        since = {"resource_version": found.metadata.resource_version, "timeout_seconds": 1}
        changes = watch.Watch().stream(core.list_namespaced_pod, "airflow", **since)
        assert [each["type"] for each in changes] == ["ADDED", "MODIFIED", "DELETED"]


def test_what_is_denied_is_refused_in_kubernetes_words() -> None:
    with StandIn([secret("s", {}), secret("t", {})]) as there:
        core = CoreV1Api(there.client())
        there.deny("get", "secrets", name="s")
        with pytest.raises(ApiException, match=r"cannot get resource .*secrets") as caught:
            core.read_namespaced_secret("s", "airflow")
        assert caught.value.status == 403
        assert core.read_namespaced_secret("t", "airflow").metadata.name == "t"
        there.deny("*", "services", namespace="elsewhere")
        assert core.list_namespaced_service("airflow").items == []
        with pytest.raises(ApiException, match=r"in the namespace .*elsewhere"):
            core.list_namespaced_service("elsewhere")


def test_a_token_is_wanted_where_there_is_one() -> None:
    with StandIn(token="t0ken") as there:
        core = CoreV1Api(there.client())
        assert core.list_namespaced_pod("airflow").items == []
        there.token = "another"
        with pytest.raises(ApiException, match="401"):
            core.list_namespaced_pod("airflow")


def test_a_port_that_leads_nowhere_is_a_connection_that_ends(airflow: Airflow) -> None:
    with StandIn([*release(url=airflow.url()), *database()]) as there:
        with pytest.raises(Exception, match="cannot be reached"):
            attach(there)
        there.deny("get", "pods/portforward")
        there.lead("airflow-db-0", 5432, airflow.port)
        with pytest.raises(Exception, match="cannot be reached"):
            attach(there)


def test_rows_are_played(airflow: Airflow) -> None:
    with StandIn() as there:
        player = Player(airflow, there, every=0.01)
        player.start()
        while player.played < 3:
            player.join(0.01)
        player.stop()
    with airflow.connect() as connection:
        found = connection.execute("SELECT DISTINCT state FROM task_instance").fetchall()
    assert found == [("success",)]
