"""Watches, as the executor's watcher and a kubelet depend on them."""

import threading
from collections.abc import Iterator

import pytest
from kubernetes import watch
from kubernetes.client.rest import ApiException

from tests.contract.apis import WATCH_SECONDS, KubernetesAPI, Server, running_kubeapi


@pytest.mark.parametrize("start", ["0", None])
def test_a_watch_from_zero_tells_the_state_and_then_the_changes(
    kubernetes_api: KubernetesAPI, start: str | None
) -> None:
    kubernetes_api.create("old")
    kubernetes_api.label("old", seen="yes")
    later = threading.Timer(0.3, kubernetes_api.create, ["new"])
    later.start()
    options = {} if start is None else {"resource_version": start}
    events = kubernetes_api.events(2, **options)
    later.join()
    assert [(e["type"], e["object"].metadata.name) for e in events] == [
        ("ADDED", "old"),
        ("ADDED", "new"),
    ]
    assert events[0]["object"].metadata.labels == {"seen": "yes"}


def test_a_watch_from_a_version_tells_every_later_change_in_order(
    kubernetes_api: KubernetesAPI,
) -> None:
    kubernetes_api.create("before")
    start = kubernetes_api.revision()
    kubernetes_api.create("a")
    kubernetes_api.create("b")
    kubernetes_api.label("a", x="1")
    kubernetes_api.set_phase("before", "Succeeded")
    kubernetes_api.delete("b", grace_period_seconds=0)
    events = kubernetes_api.events(6, resource_version=start)
    assert [(e["type"], e["object"].metadata.name) for e in events] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("MODIFIED", "before"),
        ("MODIFIED", "b"),
        ("DELETED", "b"),
    ]
    versions = [int(e["object"].metadata.resource_version) for e in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)


def test_a_watch_resumed_from_its_last_event_misses_and_repeats_nothing(
    kubernetes_api: KubernetesAPI,
) -> None:
    start = kubernetes_api.revision()
    for name in "abcd":
        kubernetes_api.create(name)
    first = kubernetes_api.events(2, resource_version=start)
    resumed = first[-1]["object"].metadata.resource_version
    assert kubernetes_api.told(2, resource_version=resumed) == [("ADDED", "c"), ("ADDED", "d")]


def test_a_deleted_pods_last_event_bears_its_deletion_timestamp(
    kubernetes_api: KubernetesAPI,
) -> None:
    kubernetes_api.create("gone")
    start = kubernetes_api.revision()
    kubernetes_api.delete("gone")
    last = kubernetes_api.events(2, resource_version=start)[-1]
    assert last["type"] == "DELETED"
    assert last["object"].metadata.deletion_timestamp is not None


def test_a_pod_whose_label_leaves_the_selector_is_deleted_for_that_watch_only(
    kubernetes_api: KubernetesAPI,
) -> None:
    """The executor takes DELETED without a deletion timestamp for an adoption."""
    kubernetes_api.create("adopted", worker="1")
    start = kubernetes_api.revision()
    patched = kubernetes_api.label("adopted", worker="2")
    (old,) = kubernetes_api.events(1, resource_version=start, label_selector="worker=1")
    (new,) = kubernetes_api.events(1, resource_version=start, label_selector="worker=2")
    (all_,) = kubernetes_api.events(1, resource_version=start)
    assert (old["type"], new["type"], all_["type"]) == ("DELETED", "ADDED", "MODIFIED")
    assert old["object"].metadata.deletion_timestamp is None
    assert old["object"].metadata.labels == {"worker": "1"}
    versions = {e["object"].metadata.resource_version for e in (old, new, all_)}
    assert versions == {patched.metadata.resource_version}


def test_a_watch_with_selectors_is_silent_about_other_pods(kubernetes_api: KubernetesAPI) -> None:
    start = kubernetes_api.revision()
    kubernetes_api.create("other", worker="2")
    kubernetes_api.create("done", worker="1", done="True")
    kubernetes_api.create("mine", worker="1")
    told = kubernetes_api.told(1, resource_version=start, label_selector="worker=1,done!=True")
    assert told == [("ADDED", "mine")]
    fields = "metadata.name=other"
    assert kubernetes_api.told(1, field_selector=fields) == [("ADDED", "other")]


def test_a_field_selector_follows_a_pod_in_and_out_of_a_phase(
    kubernetes_api: KubernetesAPI,
) -> None:
    kubernetes_api.create("p")
    start = kubernetes_api.revision()
    kubernetes_api.set_phase("p", "Running")
    kubernetes_api.set_phase("p", "Succeeded")
    told = kubernetes_api.told(2, resource_version=start, field_selector="status.phase=Running")
    assert told == [("ADDED", "p"), ("DELETED", "p")]


def test_a_watch_ends_in_good_order_when_its_time_is_up(kubernetes_api: KubernetesAPI) -> None:
    kubernetes_api.create("only")
    stream = watch.Watch().stream(
        kubernetes_api.core.list_namespaced_pod, kubernetes_api.namespace, timeout_seconds=1
    )
    assert [event["type"] for event in stream] == ["ADDED"]


def test_a_watch_of_all_namespaces_sees_every_namespace(kubernetes_api: KubernetesAPI) -> None:
    start = kubernetes_api.revision()
    kubernetes_api.create("here")
    watcher = watch.Watch()
    for event in watcher.stream(
        kubernetes_api.core.list_pod_for_all_namespaces,
        resource_version=start,
        timeout_seconds=WATCH_SECONDS,
    ):
        seen = event["object"].metadata
        if kubernetes_api.shared and seen.namespace != kubernetes_api.namespace:
            continue
        assert (seen.namespace, seen.name) == (kubernetes_api.namespace, "here")
        return
    pytest.fail("the watch told nothing of the new pod")


def test_every_watcher_is_told_every_change(kubernetes_api: KubernetesAPI) -> None:
    start = kubernetes_api.revision()
    told: list[list[tuple[str, str]]] = []
    watchers = [
        threading.Thread(
            target=lambda: told.append(kubernetes_api.told(20, resource_version=start))
        )
        for _ in range(4)
    ]
    for watcher in watchers:
        watcher.start()
    for number in range(20):
        kubernetes_api.create(f"p{number}")
    for watcher in watchers:
        watcher.join()
    assert told == [[("ADDED", f"p{number}") for number in range(20)]] * 4


@pytest.fixture
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_kubeapi(tmp_path_factory.mktemp("forgetful"), "--history", "5") as server:
        yield server


def test_a_version_older_than_the_history_is_an_error_event_410(forgetful: Server) -> None:
    api = KubernetesAPI(forgetful)
    start = api.revision()
    for number in range(6):
        api.create(f"p{number}")
    with pytest.raises(ApiException) as error:
        api.events(1, resource_version=start)
    assert error.value.status == 410
    assert "too old resource version" in error.value.reason
    assert len(api.events(6, resource_version="0")) == 6


def test_a_version_within_the_history_is_served(forgetful: Server) -> None:
    api = KubernetesAPI(forgetful)
    start = api.revision()
    for number in range(5):
        api.create(f"p{number}")
    assert len(api.events(5, resource_version=start)) == 5


def test_a_version_from_before_a_restart_is_410(kubeapi: KubernetesAPI) -> None:
    with pytest.raises(ApiException) as error:
        kubeapi.events(1, resource_version="17")
    assert error.value.status == 410


def test_bookmarks_tell_how_far_a_silent_watch_has_come(kubeapi: KubernetesAPI) -> None:
    kubeapi.create("a", worker="1")
    now = kubeapi.revision()
    stream = watch.Watch().stream(
        kubeapi.core.list_namespaced_pod,
        kubeapi.namespace,
        label_selector="worker=2",
        allow_watch_bookmarks=True,
        timeout_seconds=1,
    )
    (bookmark,) = list(stream)
    assert bookmark["type"] == "BOOKMARK"
    assert int(bookmark["raw_object"]["metadata"]["resourceVersion"]) >= int(now)
