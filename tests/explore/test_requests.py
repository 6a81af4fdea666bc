"""A request to the Kubernetes API is a point beside those in the database; both are real."""

import pytest
from kubernetes.client.rest import ApiException

from explore.controller import Standing
from explore.points import PODS, Point, Requested, Watched
from explore.requests import RequestController
from tests.lab.kube_clients import Call, Client, Kube
from tests.lab.miniature import Process

pytest_plugins = ["tests.lab.miniature_fixtures", "tests.lab.kube_clients"]
pytestmark = pytest.mark.usefixtures("own")  # no pods are left to the next test

SCAN = "SELECT count(*) FROM dag WHERE dag_id = 'dag-1'"
BOTH: tuple[Point, ...] = (Watched("dag"), *PODS)
CREATE = (Requested("create", "before"), Requested("create", "after"))


@pytest.fixture
def controller(dsn: str, kube: Kube) -> RequestController:
    return RequestController(dsn, [Watched("dag")], kube.url, ["scheduler-1", "scheduler-2"])


def all_stand(controller: RequestController, count: int) -> tuple[Standing, ...]:
    for _ in range(200):
        rest = controller.step(None, 0.05)
        if len(rest.standing) == count:
            return rest.standing
    raise AssertionError(f"{len(rest.standing)} of {count} stand")


def test_a_request_stands_before_it_is_processed_and_after(
    controller: RequestController, own: Client, two: Client
) -> None:
    with controller:
        controller.switch(CREATE)
        call = Call(two.create, "new")
        (before,) = all_stand(controller, 1)
        assert (before.process, before.point) == ("scheduler-2", "before-create-pods")
        assert own.names() == []
        rest = controller.step(before)
        assert rest.reason == "arrived"
        (after,) = rest.standing
        assert (after.point, after.ticket < before.ticket) == ("after-create-pods", True)
        assert own.names() == ["new"]
        assert not call.over(0.1)
        assert controller.step(after).reason == "idle"
        assert call.over()
    assert controller.steps == 2


def test_one_is_let_past_while_another_stands_elsewhere(
    controller: RequestController, one: Client, two: Client, scheduler_1: Process
) -> None:
    with controller:
        controller.switch(BOTH)
        scheduler_1.begin(SCAN)
        first, second = Call(one.create, "one"), Call(two.create, "two")
        standing = all_stand(controller, 3)
        tickets = [each.ticket for each in standing]
        assert len(set(tickets)) == 3
        chosen = next(each for each in standing if each.point.startswith("before")
                      and each.process == "scheduler-2")  # fmt: skip
        rest = controller.step(chosen)
        assert {(each.process, each.point.split("-")[0]) for each in rest.standing} == {
            ("scheduler-1", "before"), ("scheduler-2", "after"),
            *((each.process, each.point.split("-")[0]) for each in standing if each.ticket > 0),
        }  # fmt: skip
        assert {each.ticket for each in rest.standing} & set(tickets) == (
            set(tickets) - {chosen.ticket}
        ), "who stood keeps its ticket"
        rest = controller.step(next(each for each in rest.standing if each.ticket > 0))
        assert scheduler_1.ended(40)
    assert first.over()
    assert second.over()


def test_requests_of_others_and_at_other_points_are_never_held(
    controller: RequestController, own: Client, two: Client
) -> None:
    with controller:
        controller.switch((Requested("delete", "before"),))
        own.create("mine")
        two.create("new")
        assert controller.step(None, 0.05).standing == ()


def test_all_go_on_at_a_pause(controller: RequestController, two: Client) -> None:
    with controller:
        controller.switch(BOTH)
        call = Call(two.create, "new")
        all_stand(controller, 1)
        controller.pause()
        assert call.over()
        two.create("another")


def test_a_request_fails_where_it_stands(
    controller: RequestController, own: Client, two: Client
) -> None:
    with controller:
        controller.switch(CREATE)
        call = Call(two.create, "new")
        (one,) = all_stand(controller, 1)
        assert controller.cancel(one)
        assert controller.step(one).standing == ()
        assert call.over()
        assert isinstance(call.error, ApiException)
        assert own.names() == []
