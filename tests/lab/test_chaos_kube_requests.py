"""Faults of requests to the Kubernetes API: each bites whom it names, and heals."""

import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient
from urllib3.exceptions import HTTPError, ProtocolError

from chaos.kube_api import ApiRule, RequestFault
from chaos.pod_answer_lost import PodAnswerLost
from chaos.pod_api_drop import PodApiDrop
from chaos.pod_api_error import PodApiError
from chaos.pod_api_latency import PodApiLatency
from common.errors import UserError
from lab.kubeapi.rules import CODES, VERBS, Rule
from tests.lab.kube_clients import NAMESPACE, Call, Client, Kube, refused, seconds

pytest_plugins = ["tests.lab.kube_clients"]

GONE = (ProtocolError, HTTPError)


def ask(who: Client, verb: str) -> int:
    """Make a request of that verb; return the status of its answer."""
    body = {"metadata": {"labels": {"seen": "1"}}}
    asks: dict[str, Callable[[], Any]] = {
        "create": lambda: who.create("new"),
        "get": lambda: who.core.read_namespaced_pod("there", NAMESPACE),
        "list": lambda: who.core.list_namespaced_pod(NAMESPACE),
        "watch": lambda: who.core.list_namespaced_pod(
            NAMESPACE, watch=True, timeout_seconds=0, _preload_content=False
        ),
        "patch": lambda: who.core.patch_namespaced_pod("there", NAMESPACE, body),
        "update": lambda: who.core.replace_namespaced_pod(
            "there", NAMESPACE, who.core.read_namespaced_pod("there", NAMESPACE)
        ),
        "delete": lambda: who.core.delete_namespaced_pod("there", NAMESPACE),
        "deletecollection": lambda: who.core.delete_collection_namespaced_pod(NAMESPACE),
    }
    try:
        answer = asks[verb]()
    except ApiException as error:
        return int(error.status)
    status = getattr(answer, "status", 200)
    if verb == "watch":
        answer.close()
    return status if isinstance(status, int) else 200


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_known_and_by_the_name_of_who_asks(
    kube: Kube, own: Client, one: Client, two: Client, verb: str
) -> None:
    own.create("there")
    with PodApiError("scheduler-2", 500, request=verb).on(kube.lab) as fault:
        assert ask(two, verb) == 500
        for other in VERBS:
            if (other, verb) != ("update", "get"):  # which reads what it will write
                assert other == verb or ask(two, other) != 500
        own.clear()
        assert ask(one, verb) != 500
        assert fault.kept.report().struck == 1
    assert ask(two, verb) != 500


def test_the_dynamic_client_asks_by_its_name_too(kube: Kube, one: Client, two: Client) -> None:
    pods = [
        DynamicClient(each.api).resources.get(api_version="v1", kind="Pod") for each in (one, two)
    ]
    with PodApiError("scheduler-2", 503, request="list").on(kube.lab):
        assert refused(pods[1].get, namespace=NAMESPACE).status == 503
        assert pods[0].get(namespace=NAMESPACE).kind == "PodList"


def test_requests_are_late_and_those_that_wait_go_on_when_it_heals(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    with PodApiLatency("scheduler-2", 1.5, request="create").on(kube.lab) as fault:
        assert not fault.fired()
        assert seconds(two.create, "late") >= 1.5
        assert seconds(two.names) < 1.2
        assert seconds(one.create, "other") < 1.2
        assert fault.fired()
    with PodApiLatency("scheduler-2", 60, request="list").on(kube.lab) as fault:
        call = Call(two.names)
        assert not call.over(0.3)
        fault.end()
        assert call.over(2)
    assert call.answer == ["late", "other"]
    assert fault.fired(), "what it did is known after it was healed"
    assert own.names() == ["late", "other"]


def test_a_seed_draws_the_same_jitter_again(kube: Kube, own: Client, two: Client) -> None:
    def waits(seed: int) -> list[float]:
        with PodApiLatency("scheduler-2", 0.2, jitter=0.2, seed=seed).on(kube.lab):
            return [round(seconds(two.names), 1) for _ in range(4)]

    own.names()
    assert waits(3) == pytest.approx(waits(3), abs=0.11)
    assert max(waits(3)) > 0.15


@pytest.mark.parametrize("code", CODES)
def test_an_error_is_answered_as_kubernetes_words_it_and_nothing_has_happened(
    kube: Kube, own: Client, two: Client, code: int
) -> None:
    with PodApiError("scheduler-2", code, request="create", retry_after=7).on(kube.lab):
        error = refused(two.create, "new")
    assert (error.status, error.headers["Retry-After"]) == (code, "7")
    words = {
        403: 'pods \\"new\\" is forbidden: exceeded quota',
        409: 'on resourcequotas \\"lab\\": the object has been modified; please',
        429: "Too many requests, please try again later.\n",
        500: '"reason":"InternalError"',
        503: '"reason":"ServiceUnavailable"',
        504: '"reason":"Timeout"',
    }
    assert words[code] in error.body
    assert own.names() == []
    two.create("new")


def test_a_conflict_is_about_the_pod_its_quota_or_its_name(
    kube: Kube, own: Client, two: Client
) -> None:
    own.create("there")
    with PodApiError("scheduler-2", 409, request="patch").on(kube.lab):
        error = refused(two.core.patch_namespaced_pod, "there", NAMESPACE, {})
    assert 'on pods \\"there\\": the object has been modified; please' in error.body
    with PodApiError("scheduler-2", 409, request="create", when="after").on(kube.lab):
        error = refused(two.create, "new")
    assert '"reason":"AlreadyExists"' in error.body
    assert own.names() == ["new", "there"]


def test_too_many_requests_say_when_to_come_again(kube: Kube, two: Client) -> None:
    with PodApiError("scheduler-2", 429, request="create").on(kube.lab):
        assert refused(two.create, "new").headers["Retry-After"] == "1"
    with PodApiError("scheduler-2", 500, request="create").on(kube.lab):
        assert "Retry-After" not in refused(two.create, "new").headers


def test_an_error_may_be_told_after_the_request_was_processed(
    kube: Kube, own: Client, two: Client
) -> None:
    with PodApiError("scheduler-2", 504, request="create", when="after").on(kube.lab):
        assert refused(two.create, "new").status == 504
    assert own.names() == ["new"]


def test_an_answer_is_lost_and_the_request_is_done(kube: Kube, own: Client, two: Client) -> None:
    with PodAnswerLost("scheduler-2", request="create").on(kube.lab) as fault:
        with pytest.raises(ProtocolError, match="Connection aborted"):
            two.create("new")
        assert own.names() == ["new"]
        with pytest.raises(ProtocolError):
            two.create("new")
    assert fault.kept.text == "struck 2 times: create of new, create of new"
    assert refused(two.create, "new").status == 409
    assert own.names() == ["new"]


def test_a_request_is_lost_on_its_way(kube: Kube, own: Client, two: Client) -> None:
    with PodApiDrop("scheduler-2", request="create").on(kube.lab):
        with pytest.raises(ProtocolError, match="Connection aborted"):
            two.create("new")
        assert own.names() == []
    two.create("new")


@pytest.mark.parametrize(
    "fault",
    [
        PodApiDrop("scheduler-2", request="list", count=2),
        PodApiError("scheduler-2", 429, retry_after=0, request="list", count=2),
    ],
    ids=lambda fault: fault.name,
)
def test_the_client_tries_a_lost_read_again_by_itself(
    kube: Kube, two: Client, fault: RequestFault
) -> None:
    with fault.on(kube.lab) as injection:
        assert two.names() == []
        assert injection.kept.report().struck == 2


def test_a_count_is_of_those_that_are_struck(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    with PodApiError("scheduler-2", 500, request="create", count=2).on(kube.lab) as fault:
        one.create("a")
        assert [refused(two.create, name).status for name in ("b", "c")] == [500, 500]
        two.create("d")
        assert fault.kept.report().struck == 2
    assert own.names() == ["a", "d"]


def test_pods_are_chosen_by_name_and_by_labels(kube: Kube, own: Client, two: Client) -> None:
    with PodApiError("scheduler-2", 500, pods="dag-*").on(kube.lab):
        two.create("other")
        assert refused(two.create, "dag-a").status == 500
        own.create("dag-b")
        assert refused(two.core.read_namespaced_pod, "dag-b", NAMESPACE).status == 500
        assert two.names() == ["dag-b", "other"], "a list is of no pod in particular"
    chosen = "task_id=start,try_number in (1,2)"
    with PodApiError("scheduler-2", 500, labels=chosen).on(kube.lab):
        two.create("third", task_id="start", try_number="3")
        assert refused(two.create, "first", task_id="start", try_number="1").status == 500
        own.create("second", task_id="start", try_number="2")
        assert refused(two.core.delete_namespaced_pod, "second", NAMESPACE).status == 500
        two.core.delete_namespaced_pod("third", NAMESPACE)


def test_a_star_is_everybody_but_the_lab_itself(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    kubelet = kube.client("kubelet")
    with PodApiError("*", 500, request="list").on(kube.lab):
        assert {refused(each.names).status for each in (one, two)} == {500}
        assert own.names() == kubelet.names() == []
    with PodApiError("kubelet", 500, request="list").on(kube.lab):
        assert refused(kubelet.names).status == 500


def test_what_a_kubelet_reports_is_no_patch_of_a_pod(kube: Kube, own: Client) -> None:
    own.create("there")
    with PodApiError("kubelet", 500).on(kube.lab):
        kube.client("kubelet").end("there")
    assert own.core.read_namespaced_pod("there", NAMESPACE).status.phase == "Succeeded"


def test_two_faults_add_up(kube: Kube, own: Client, two: Client) -> None:
    with (
        PodApiLatency("scheduler-2", 0.3, request="create").on(kube.lab),
        PodApiError("scheduler-*", 500, when="after").on(kube.lab),
    ):
        begun = time.monotonic()
        assert refused(two.create, "new").status == 500
        assert time.monotonic() - begun >= 0.3
    assert own.names() == ["new"]


def test_a_fault_that_heals_while_another_has_a_request_wait_strikes_it_no_more(
    kube: Kube, own: Client, two: Client
) -> None:
    with (
        PodApiLatency("scheduler-2", 0.5, request="create").on(kube.lab),
        PodApiError("scheduler-2", 500, request="create").on(kube.lab) as error,
    ):
        call = Call(two.create, "new")
        assert not call.over(0.1)
        error.end()
        assert call.over()
    assert call.error is None
    assert own.names() == ["new"]


def test_it_heals_when_the_test_fails_and_says_what_it_struck(kube: Kube, two: Client) -> None:
    told: list[tuple[str, ...]] = []

    def fail() -> None:
        with PodApiError("scheduler-2", 503, count=3).on(
            kube.lab, lambda *event: told.append(event)
        ):
            assert refused(two.names).status == 503
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert two.names() == []
    assert told == [
        ("begin", "pod-api-error", "scheduler-2", "the next 3 requests answered 503"),
        ("end", "pod-api-error", "scheduler-2", "struck once: list of pods"),
    ]


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (PodApiLatency("s", 0.5, jitter=0.1, seed=2), "0.5 s ± 0.1 s (seed 2) before each request"),
        (
            PodApiError("s", 409, request="create", pods="dag-*", when="after"),
            "each create request of pods dag-* processed, answered 409",
        ),
        (
            PodApiError("s", 429, retry_after=5, labels="task_id=a"),
            "each request of pods with task_id=a answered 429, Retry-After 5 s",
        ),
        (
            PodAnswerLost("s", request="create", count=1),
            "the next create request processed, answer lost",
        ),
        (PodApiDrop("s", count=2), "the next 2 requests not processed, connection closed"),
    ],
)
def test_a_fault_says_what_it_does(fault: RequestFault, detail: str) -> None:
    assert fault.detail == detail


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PodApiError("s", 418), "The code must be one of 403, 409, 429, 500, 503, 504"),
        (lambda: PodApiError("s", 500, when="during"), "It is before or after, not 'during'."),
        (lambda: PodApiError("s", 500, retry_after=-1), "Retry-After is 0 s or more."),
        (lambda: PodApiLatency("s", 0), "The latency must be greater than 0 s."),
        (lambda: PodApiLatency("s", 1, jitter=-1), "The jitter must be 0 s or more."),
        (lambda: PodApiDrop("s", request="post"), "There is no request 'post' of pods."),
        (lambda: PodApiDrop("s", count=0), "The count must be 1 or more."),
    ],
)
def test_a_fault_that_cannot_be_is_refused_where_it_is_made(
    make: Callable[[], RequestFault], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make()


def test_a_rule_that_the_api_refuses_is_one_clear_line(kube: Kube, two: Client) -> None:
    with pytest.raises(UserError, match="refuses the rule: unable to parse requirement"):
        PodApiDrop("scheduler-2", labels="a==b==c").on(kube.lab).begin()
    with pytest.raises(UserError, match=r"refuses the rule: not a rule: .* at `\$.count`"):
        ApiRule(kube.url, Rule(do="drop", count=0))
    assert two.names() == []


def test_an_api_that_is_away_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(UserError, match="The lab's Kubernetes API does not answer at"):
        ApiRule(url, Rule(do="drop"))
