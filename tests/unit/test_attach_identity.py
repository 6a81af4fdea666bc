"""A database session is known by its name, else by the address of its pod."""

from kubernetes.client import ApiException, V1ObjectMeta, V1Pod, V1PodList, V1PodSpec, V1PodStatus

from lab.attach.identity import Names


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
