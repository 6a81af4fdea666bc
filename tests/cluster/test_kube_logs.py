"""Logs are followed line by line, each line once, over restarts and lost connections."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.kube import execs
from lab.kube.client import end_reads
from lab.kube.logs import LogFollower
from tests.cluster.kube_pods import create, eventually, pod

COUNTING = "for n in $(seq 1 %d); do echo $0 line $n; sleep 0.01; done"


@pytest.fixture
def follow(kubernetes_api: Any, namespace: str, tmp_path: Path) -> Iterator[Any]:
    made = []

    def start(name: str) -> LogFollower:
        follower = LogFollower(kubernetes_api.api_client, namespace, f"app={name}", tmp_path)
        follower.start()
        made.append(follower)
        return follower

    yield start
    for each in made:
        each.stop()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def has_lines(path: Path, count: int) -> bool:
    return len(lines(path)) >= count


def counted(word: str, count: int) -> list[str]:
    return [f"{word} line {n}" for n in range(1, count + 1)]


def test_a_restarted_container_goes_on_in_the_same_file(
    kubernetes_api: Any, namespace: str, image: str, tmp_path: Path, follow: Any
) -> None:
    script = f"{COUNTING % 100}; bash -c 'sleep 3'; exit 1"
    create(kubernetes_api, namespace, pod("restarting", image, "bash", "-c", script, "it"))
    follow("restarting")
    path = tmp_path / "restarting.log"
    eventually(lambda: len(lines(path)) >= 300)
    assert lines(path)[:300] == counted("it", 100) * 3


def test_a_lost_connection_loses_and_doubles_nothing(
    kubernetes_api: Any, namespace: str, image: str, tmp_path: Path, follow: Any
) -> None:
    script = f"{COUNTING % 500}; sleep 600"
    create(kubernetes_api, namespace, pod("cut", image, "bash", "-c", script, "it"))
    follower = follow("cut")
    path = tmp_path / "cut.log"
    for after in (50, 150, 300):
        eventually(partial(has_lines, path, after))
        for stream in follower._streams.values():
            end_reads(stream._sock)
    eventually(lambda: len(lines(path)) >= 500)
    assert lines(path) == counted("it", 500)


def test_init_and_several_containers_of_a_pod_and_a_pod_that_comes_later(
    kubernetes_api: Any, namespace: str, image: str, tmp_path: Path, follow: Any
) -> None:
    follow("several")
    body = pod("several", image, "bash", "-c", "echo from main; sleep 600")
    main = body["spec"]["containers"][0]
    other = {**main, "name": "other", "command": ["bash", "-c", "echo -n from other"]}
    body["spec"]["containers"].append(other)
    body["spec"]["initContainers"] = [
        {**main, "name": "before", "command": ["echo", "from before"]}
    ]
    body["spec"]["restartPolicy"] = "Never"
    create(kubernetes_api, namespace, body)
    for name in ("before", "main", "other"):
        path = tmp_path / f"several.{name}.log"
        assert eventually(partial(lines, path)) == [f"from {name}"]


def test_a_replaced_pod_of_the_same_name_goes_on_in_the_same_file(
    kubernetes_api: Any, namespace: str, image: str, tmp_path: Path, follow: Any
) -> None:
    follow("again")
    path = tmp_path / "again.log"
    for word, count in (("first", 1), ("second", 2)):
        command = ["bash", "-c", f"echo {word}; sleep 600"]
        create(kubernetes_api, namespace, pod("again", image, *command))
        eventually(partial(has_lines, path, count))
        kubernetes_api.delete_namespaced_pod("again", namespace, grace_period_seconds=0)
        eventually(
            lambda: (
                not kubernetes_api.list_namespaced_pod(namespace, label_selector="app=again").items
            )
        )
    assert lines(path) == ["first", "second"]


def test_stop_keeps_what_has_come_and_returns_in_time(
    kubernetes_api: Any, namespace: str, image: str, tmp_path: Path, follow: Any
) -> None:
    create(kubernetes_api, namespace, pod("quiet", image, "bash", "-c", "echo once; sleep 600"))
    follower = follow("quiet")
    path = tmp_path / "quiet.log"
    eventually(lambda: lines(path))
    follower.stop()
    assert not any(stream.is_busy() for stream in follower._streams.values())
    execs.run(kubernetes_api.api_client, namespace, "quiet", None, ["true"])
    assert lines(path) == ["once"]
