"""Faults of watches: they end, hang, are too old, or hear late; and keep what a watch promises."""

import re
import time
from collections.abc import Callable

import pytest

from chaos.kube_api import KubeApiFault
from chaos.late_pod_end import LatePodEnd
from chaos.watch_broken import WatchBroken
from common.errors import UserError
from tests.lab.kube_clients import NAMESPACE, Client, Kube, Watching
from tests.labs import eventually

pytest_plugins = ["tests.lab.kube_clients"]


def told(watching: Watching, *wanted: tuple[str, str, str]) -> bool:
    """Tell whether a watch is told these things, in this order and nothing else, in time."""
    eventually(lambda: len(watching.told) >= len(wanted), 5)
    return tuple(watching.told) == wanted


@pytest.mark.parametrize(
    ("how", "ending"), [("closed", "in good order"), ("cut", "ProtocolError"), ("gone", "410")]
)
def test_open_watches_of_one_client_end_and_the_next_goes_on(
    kube: Kube, own: Client, one: Client, two: Client, how: str, ending: str
) -> None:
    first, second, other = two.watching(), two.watching(), one.watching()
    with WatchBroken("scheduler-2", how=how).on(kube.lab) as fault:
        assert eventually(lambda: bool(first.ending and second.ending), 5)
        assert fault.kept.report().struck == 2
        again = two.watching()
        own.create("a")
        assert told(again, ("ADDED", "a", "Pending"))
    assert [first.ending, second.ending] == [ending, ending]
    assert told(other, ("ADDED", "a", "Pending"))
    assert not again.ending


@pytest.mark.parametrize(
    ("how", "ending"), [("closed", "in good order"), ("cut", "ProtocolError"), ("gone", "410")]
)
def test_where_no_watch_is_open_the_next_one_ends(
    kube: Kube, two: Client, how: str, ending: str
) -> None:
    with WatchBroken("scheduler-2", how=how).on(kube.lab) as fault:
        assert not fault.fired()
        first = two.watching()
        assert eventually(lambda: first.ending == ending, 5)
        assert fault.fired()
        assert not two.watching().ending


def test_what_is_too_old_stays_so_while_it_lasts_and_a_new_list_helps(
    kube: Kube, own: Client, two: Client
) -> None:
    before = two.core.list_namespaced_pod(NAMESPACE).metadata.resource_version
    own.create("a")
    with WatchBroken("scheduler-2", how="gone").on(kube.lab):
        old = [two.watching(resource_version=before) for _ in range(2)]
        assert eventually(lambda: [each.ending for each in old] == ["410"] * 2, 5)
        assert told(two.watching(resource_version="0"), ("ADDED", "a", "Pending"))
        assert not two.watching().ending
    assert told(two.watching(resource_version=before), ("ADDED", "a", "Pending"))


def test_a_silent_watch_stays_open_beyond_its_time_and_misses_nothing(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    silent, other = two.watching(timeout_seconds=1, allow_watch_bookmarks=True), one.watching()
    with WatchBroken("scheduler-2", how="silent").on(kube.lab) as fault:
        later = two.watching()
        own.create("a")
        assert told(other, ("ADDED", "a", "Pending"))
        time.sleep(1.2)
        assert (silent.told, silent.ending, later.told) == ([], "", [])
        assert fault.kept.report().struck == 2
    assert told(later, ("ADDED", "a", "Pending"))
    assert eventually(lambda: silent.ending == "in good order", 5)
    assert silent.told[0] == ("ADDED", "a", "Pending")


def test_a_pod_s_end_is_heard_late_and_in_order(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    late, other = two.watching(), one.watching()
    with LatePodEnd("scheduler-2", 0.8).on(kube.lab) as fault:
        own.create("a")
        assert told(late, ("ADDED", "a", "Pending"))
        assert not fault.fired()
        own.end("a")
        own.create("b")
        end = ("MODIFIED", "a", "Succeeded")
        assert told(other, ("ADDED", "a", "Pending"), end, ("ADDED", "b", "Pending"))
        assert len(late.told) == 1
        assert two.core.read_namespaced_pod("a", NAMESPACE).status.phase == "Succeeded"
        assert told(late, *other.told)
    assert 0.5 <= late.times[end] - other.times[end] < 2
    assert fault.kept.text == "struck once: watch of a"


def test_two_ends_are_late_by_as_much_each(
    kube: Kube, own: Client, one: Client, two: Client
) -> None:
    for name in ("a", "b"):
        own.create(name)
    late, other = two.watching(), one.watching()
    with LatePodEnd("scheduler-2", 1.0).on(kube.lab):
        for name in ("a", "b"):
            own.end(name)
            time.sleep(0.5)
        ends = [("MODIFIED", name, "Succeeded") for name in ("a", "b")]
        assert told(late, *ends)
    for end in ends:
        assert 0.7 <= late.times[end] - other.times[end] < 1.4


def test_a_watch_that_is_begun_again_does_not_hear_of_it_sooner_or_later(
    kube: Kube, own: Client, two: Client
) -> None:
    own.create("a")
    first = two.watching(timeout_seconds=3, allow_watch_bookmarks=True)
    version = two.core.list_namespaced_pod(NAMESPACE).metadata.resource_version
    with LatePodEnd("scheduler-2", 5.0).on(kube.lab):
        begun = time.monotonic()
        own.end("a", "Failed")
        assert eventually(lambda: bool(first.ending), 5)
        assert [kind for kind, _, phase in first.told if phase == "Failed"] == []
        assert 0 < first.bookmark <= int(version), "it is no further than what was told"
        again = two.watching(resource_version=version)
        assert told(again, ("MODIFIED", "a", "Failed"))
        assert 4.8 <= time.monotonic() - begun < 7.5


def test_it_heals_at_once_and_ends_that_were_before_it_are_not_late(
    kube: Kube, own: Client, two: Client
) -> None:
    for name in ("a", "b"):
        own.create(name)
    version = two.core.list_namespaced_pod(NAMESPACE).metadata.resource_version
    own.end("a")
    with LatePodEnd("scheduler-2", 600).on(kube.lab):
        watching = two.watching(resource_version=version)
        assert told(watching, ("MODIFIED", "a", "Succeeded"))
        own.core.delete_namespaced_pod("b", NAMESPACE)
        own.create("c")
        time.sleep(0.3)
        assert watching.told[1:] == [("MODIFIED", "b", "Pending")], "it is marked, and not yet gone"
    eventually(lambda: ("ADDED", "c", "Pending") in watching.told, 5)
    assert watching.told[-1] == ("ADDED", "c", "Pending")
    assert watching.told[-2][:2] == ("DELETED", "b")


def test_only_chosen_pods_are_late_and_only_so_many(kube: Kube, own: Client, two: Client) -> None:
    for name in ("dag-a", "dag-b", "other"):
        own.create(name, try_number="1" if name == "other" else "2")
    watching = two.watching()
    with LatePodEnd("scheduler-2", 600, pods="dag-*", labels="try_number=2", count=1).on(kube.lab):
        own.end("other")
        assert told(watching, ("MODIFIED", "other", "Succeeded"))
        own.end("dag-a")
        own.end("dag-b")
        time.sleep(0.3)
        assert len(watching.told) == 1
    assert told(
        watching, *(("MODIFIED", name, "Succeeded") for name in ("other", "dag-a", "dag-b"))
    )


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (WatchBroken("s"), "watches of pods ended in good order, as after its time"),
        (
            WatchBroken("s", how="silent", seconds=5),
            "watches of pods open, told nothing for 5 s or more",
        ),
        (LatePodEnd("s", 3), "each pod's end told to watches 3 s late"),
        (
            LatePodEnd("s", 3, pods="a*", labels="x=1", count=2),
            "the next 2 pods' ends of a* with x=1 told to watches 3 s late",
        ),
    ],
)
def test_a_fault_says_what_it_does(fault: KubeApiFault, detail: str) -> None:
    assert fault.detail == detail


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WatchBroken("s", how="lost"), "A watch is closed, cut, gone, silent, not 'lost'."),
        (lambda: LatePodEnd("s", 0), "It must be late by more than 0 s."),
        (lambda: LatePodEnd("s", 1, count=0), "The count must be 1 or more."),
    ],
)
def test_a_fault_that_cannot_be_is_refused_where_it_is_made(
    make: Callable[[], KubeApiFault], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make()
