"""A process is held at its request to the Kubernetes API, and let go on, or not."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import requests
from kubernetes.client.rest import ApiException
from urllib3.exceptions import ProtocolError

from chaos.holds.hold import HoldError
from chaos.holds.request import RequestHold, RequestPoint
from chaos.kube_api import ApiRule
from common.errors import UserError
from lab.kubeapi.rules import Rule
from tests.contract.apis import running_kubeapi
from tests.lab.kube_clients import NAMESPACE, Call, Client, Kube
from tests.labs import eventually

pytest_plugins = ["tests.lab.kube_clients"]

CONTROLLER = """
import sys, time
from chaos.kube_api import ApiRule
from lab.kubeapi.rules import Rule
rules = [ApiRule(sys.argv[1], Rule(do=do)) for do in ("hold", "silence")]
print("holds", flush=True)
time.sleep(600)
"""


def hold(kube: Kube, told: list[tuple[str, ...]] | None = None, **point: str) -> RequestHold:
    seen = [] if told is None else told
    return RequestHold(
        *(kube.url, "scheduler-2", RequestPoint(**point)), record=lambda *event: seen.append(event)
    )


def test_a_request_waits_before_it_is_processed(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    told: list[tuple[str, ...]] = []
    with hold(kube, told) as held:
        begun = time.time()
        call = Call(two.create, "new")
        found = held.wait_held(timeout=40)
        assert (found.process, found.request, found.pod) == ("scheduler-2", "create", "new")
        assert begun <= found.since <= time.time()
        one.create("other")
        assert two.names() == ["other"]
        assert not call.over(0.2)
    assert call.over()
    assert own.names() == ["new", "other"]
    assert told == [
        ("hold", "create of pods", "scheduler-2", "before it is processed"),
        ("held", "create of pods", "scheduler-2", "create of new"),
        ("release", "create of pods", "scheduler-2", ""),
    ]


def test_a_request_waits_before_its_answer_is_sent(kube: Kube, own: Client, two: Client) -> None:
    with hold(kube, when="after", pods="dag-*") as held:
        two.create("new")
        call = Call(two.create, "dag-new")
        held.wait_held(timeout=40)
        assert own.names() == ["dag-new", "new"]
        assert not call.over(0.2)
    assert call.over()
    assert call.answer.metadata.name == "dag-new"


def test_one_is_let_pass_and_the_next_is_held(kube: Kube, own: Client, two: Client) -> None:
    with hold(kube) as held:
        calls = [Call(two.create, "a")]
        held.let_pass(time.time(), 5)
        assert calls[0].over()
        calls.append(Call(two.create, "b"))
        assert held.wait_held(timeout=40).pod == "b"
        assert own.names() == ["a"]
    assert calls[1].over()


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_held_may_fail_instead(kube: Kube, own: Client, two: Client, when: str) -> None:
    told: list[tuple[str, ...]] = []
    with hold(kube, told, when=when) as held:
        with pytest.raises(HoldError, match="scheduler-2 is not held now at create of pods"):
            held.cancel()
        call = Call(two.create, "a")
        held.wait_held(timeout=40)
        held.cancel()
        assert call.over()
        assert isinstance(call.error, ApiException)
        assert call.error.status == 500
        call = Call(two.create, "b")
        held.wait_held(timeout=40)
        held.terminate()
        assert call.over()
        assert isinstance(call.error, ProtocolError)
    assert own.names() == (["a", "b"] if when == "after" else [])
    assert [event[0] for event in told] == [
        *("hold", "held", "cancel", "held", "terminate", "release")
    ]


def test_a_request_whose_client_gave_up_is_processed_when_it_is_released(
    kube: Kube, own: Client, two: Client
) -> None:
    with hold(kube) as held:
        call = Call(two.core.create_namespaced_pod, NAMESPACE, _pod("new"), _request_timeout=0.3)
        held.wait_held(timeout=40)
        assert call.over()
        assert call.error is not None
        assert own.names() == []
        assert [each.pod for each in held.held()] == ["new"]
    assert eventually(lambda: own.names() == ["new"], 5)


def _pod(name: str) -> dict[str, object]:
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "base", "image": "worker"}]},
    }


def test_a_watch_waits_and_is_forgotten_with_its_client(kube: Kube, two: Client) -> None:
    with hold(kube, request="watch") as held:
        call = Call(two.core.list_namespaced_pod, NAMESPACE, watch=True, _request_timeout=0.3)
        assert held.wait_held(timeout=40).pod == ""
        assert call.over()
        assert eventually(lambda: held.held() == [], 5)


def test_a_hold_that_nobody_came_to_says_so(kube: Kube) -> None:
    with (
        hold(kube) as held,
        pytest.raises(HoldError, match=r"scheduler-2 was not held within 0.2 s at create of pods"),
    ):
        held.wait_held(timeout=0.2)


def test_a_hold_that_was_released_says_so(kube: Kube) -> None:
    held = hold(kube)
    with pytest.raises(HoldError, match="Nothing holds scheduler-2 now"):
        held.held()
    with held:
        held.hold()
    held.release()
    with pytest.raises(HoldError, match="Nothing holds scheduler-2 now"):
        held.wait_held(timeout=0.2)


def test_a_killed_controller_lets_everybody_go_on(kube: Kube, own: Client, two: Client) -> None:
    argv = [sys.executable, "-c", CONTROLLER, kube.url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "holds\n"
        call = Call(two.create, "new")
        assert not call.over(0.5)
        assert own.names() == []
        os.kill(controller.pid, signal.SIGKILL)
        assert call.over(2)
    assert own.names() == ["new"]
    watching = two.watching()
    own.create("other")
    assert eventually(lambda: bool(watching.told), 5)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"request": "post"}, "There is no request 'post': create, get, list, watch,"),
        ({"when": "during"}, "It is before or after, not 'during'."),
    ],
)
def test_a_point_that_cannot_be_is_refused_where_it_is_made(
    point: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        RequestPoint(**point)


def test_a_hold_whose_api_is_gone_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    told: list[tuple[str, ...]] = []
    with running_kubeapi(tmp_path_factory.mktemp("gone")) as server:
        held = RequestHold(
            server.url, "s", RequestPoint(), record=lambda *event: told.append(event)
        )
        held.hold()
    with pytest.raises(HoldError, match="s is held no longer: The lab's Kubernetes API does not"):
        held.held()
    held.release()
    assert told[-1][-1] == "it had ended before: the Kubernetes API was gone"


def test_an_api_that_ends_waits_for_nobody(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_kubeapi(tmp_path_factory.mktemp("ends")) as server:
        rules = [ApiRule(server.url, Rule(do=do)) for do in ("hold", "silence")]
        assert server.process is not None
        call = Call(requests.get, f"{server.url}/api/v1/pods", timeout=30)
        assert eventually(lambda: len(rules[0].report().held) == 1, 5)
        begun = time.monotonic()
        server.process.terminate()
        server.process.wait(10)
        assert time.monotonic() - begun < 15
        assert call.over()
    assert [rule.withdraw() for rule in rules] == [None, None]
