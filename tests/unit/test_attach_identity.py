"""A database session is known by its name, else by the address of its pod."""

import pytest
from kubernetes.client import ApiException, V1ObjectMeta, V1Pod, V1PodList, V1PodSpec, V1PodStatus

from lab.cluster.discovery import Release, discover
from lab.cluster.identity import Names, borrowed_names, told_apart
from lab.cluster.plan import plan
from tests.deployment.release import pod, release, secret, service
from tests.deployment.standin import StandIn


class Pods:
    """What a cluster would answer; with no address it does not answer."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    def list_namespaced_pod(self, _namespace: str, **_options: object) -> V1PodList:
        self.asked += 1
        if not self.addresses:
            raise ApiException(status=503)
        return V1PodList(
            items=[
                V1Pod(
                    metadata=V1ObjectMeta(name=name),
                    spec=V1PodSpec(containers=[], host_network=name == "shared"),
                    status=V1PodStatus(phase="Running", pod_ip=address),
                )
                for name, address in self.addresses.items()
            ]
        )


def test_an_address_becomes_the_name_of_its_pod() -> None:
    names = Names(Pods(scheduler="10.0.0.1", api="fd00::2"), "n")
    assert names("10.0.0.1") == "scheduler"
    assert names("fd00::2") == "api"


def test_what_is_no_address_of_a_pod_stays_as_it_is() -> None:
    pods = Pods(scheduler="10.0.0.1", shared="10.0.0.9")
    names = Names(pods, "n")
    for client in ("airflow-scheduler-0", "task", "", "3 blind mice", "a::b", "10.0.0.9"):
        assert names(client) == client


def test_names_alone_ask_the_cluster_nothing() -> None:
    pods = Pods(scheduler="10.0.0.1")
    assert Names(pods, "n")("airflow-scheduler-0") == "airflow-scheduler-0"
    assert pods.asked == 0


def test_many_rows_cost_one_look() -> None:
    pods = Pods(scheduler="10.0.0.1")
    names = Names(pods, "n")
    for number in range(200):
        names(f"10.0.1.{number}")
    assert pods.asked == 1


def test_a_cluster_that_does_not_answer_costs_the_name_and_no_more() -> None:
    assert Names(Pods(), "n")("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("pool_mode", "named", "borrowed"),
    [
        ("", "", False),
        ("session", "", False),
        ("transaction", "pod", False),
        ("transaction", "alike", True),
        ("transaction", "", True),
        ("statement", "", True),
        ("unknown", "alike", True),
    ],
)
def test_names_that_a_pooler_hands_on_name_nobody(
    pool_mode: str, named: str, borrowed: bool
) -> None:
    found = a_release(pool_mode, named)
    reason = borrowed_names(found)
    assert ("the name of the one before it" in reason) == borrowed
    if borrowed:
        asked = told_apart(Pods(), found, "host=nowhere.invalid")
        assert asked == ("", reason), "the sessions' names are not even looked at"


def a_release(pool_mode: str, named: str) -> Release:
    return Release(
        namespace="n",
        name="r",
        image="i",
        schedulers=("s-0", "s-1"),
        components=("scheduler",),
        executor="KubernetesExecutor",
        named=named,
        pool_mode=pool_mode,
        api_port=8080,
        api_path="",
        neighbours=(),
        not_covered=(),
    )


def planned(*, faults: bool, mode: str = "") -> str:
    ini = f"[databases]\n* = host=db.example\n[pgbouncer]\npool_mode = {mode}\n"
    labels = {"component": "pgbouncer", "release": "airflow"}
    mount = {"name": "c", "mountPath": "/etc/pgbouncer/pgbouncer.ini", "subPath": "pgbouncer.ini"}
    pooler = pod("pgb", labels, [{"name": "pgbouncer", "volumeMounts": [mount]}])
    pooler["spec"]["volumes"] = [{"name": "c", "secret": {"secretName": "pgb"}}]
    parts = [pooler, service("pgb", labels), secret("pgb", {"pgbouncer.ini": ini})] if mode else []
    url = f"postgresql://u:p@{'pgb' if mode else 'db.example'}:5432/airflow"
    with StandIn([*release(named=bool(mode), url=url), *parts]) as there:
        client = there.client()
        return "\n".join(plan(client, "c", discover(client, "airflow"), allow_faults=faults))


def test_the_plan_says_what_a_session_without_a_name_is_called() -> None:
    assert "goes by the name of the one before it" in planned(faults=False, mode="transaction")
    assert "the one before" not in planned(faults=False, mode="session")
    assert "the one before" not in planned(faults=False)


def test_the_plan_says_that_backups_fail_while_rules_stand() -> None:
    assert "pg_dump" in planned(faults=True)
    assert "pg_dump" not in planned(faults=False)
