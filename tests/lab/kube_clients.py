"""A small Kubernetes API of a test's own, and real clients of it under the names of processes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from urllib3.exceptions import HTTPError

from chaos.kube_api import KubeApiLab
from lab.kubeapi.kubeconfig import CLIENTS, write_kubeconfig
from lab.kubeapi.rules import KUBELET, LAB
from tests.contract.apis import running_kubeapi

NAMES = (LAB, KUBELET, "scheduler-1", "scheduler-2")
NAMESPACE = "airflow"


class Client:
    """One process' client, the official one."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        self.name = name
        self.api = config.new_client_from_config(str(kubeconfig), context=name)
        self.core = client.CoreV1Api(self.api)
        self.watches: list[Watching] = []

    def create(self, name: str, **labels: str) -> Any:
        pod = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "base", "image": "worker"}]},
        }
        return self.core.create_namespaced_pod(NAMESPACE, pod)

    def end(self, name: str, phase: str = "Succeeded") -> None:
        body = {"status": {"phase": phase}}
        self.core.patch_namespaced_pod_status(name, NAMESPACE, body)

    def names(self) -> list[str]:
        return [pod.metadata.name for pod in self.core.list_namespaced_pod(NAMESPACE).items]

    def clear(self) -> None:
        self.core.delete_collection_namespaced_pod(NAMESPACE, grace_period_seconds=0)

    def watching(self, **options: Any) -> "Watching":
        """Return a watch that has begun, from what is there now."""
        version = self.core.list_namespaced_pod(NAMESPACE).metadata.resource_version
        made = Watching(self, {"resource_version": version, "timeout_seconds": 30, **options})
        made.start()
        assert made.open.wait(5)
        self.watches.append(made)
        return made

    def close(self) -> None:
        """Hang up all watches."""
        for each in self.watches:
            each.close()


class Watching(threading.Thread):
    """A watch in the background: what it was told, when, and how it ended."""

    def __init__(self, who: Client, options: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.told: list[tuple[str, str, str]] = []
        self.times: dict[tuple[str, str, str], float] = {}
        self.ending = ""
        self.bookmark = 0
        self.open = threading.Event()
        self._who = who
        self._options = options
        self._watch = watch.Watch()
        self._answer: Any = None

    def run(self) -> None:
        try:
            for event in self._watch.stream(self._list, NAMESPACE, **self._options):
                pod = event["raw_object"]
                if event["type"] == "BOOKMARK":
                    self.bookmark = int(pod["metadata"]["resourceVersion"])
                    continue
                told = (event["type"], pod["metadata"]["name"], pod["status"]["phase"])
                self.told.append(told)
                self.times.setdefault(told, time.monotonic())
            self.ending = "in good order"
        except ApiException as error:
            self.ending = str(error.status)
        except (HTTPError, ValueError) as error:
            self.ending = type(error).__name__

    def _list(self, *args: Any, **options: Any) -> Any:
        self._answer = self._who.core.list_namespaced_pod(*args, **options)
        self.open.set()
        return self._answer

    def close(self) -> None:
        """Hang up."""
        with suppress(ValueError, RuntimeError, OSError, AttributeError):
            self._answer.shutdown()
        self.join(40)


@dataclass(frozen=True)
class Kube:
    """An API that runs, and who asks it."""

    url: str
    kubeconfig: Path
    process: Any

    def client(self, name: str) -> Client:
        return Client(self.kubeconfig, name)

    @property
    def lab(self) -> KubeApiLab:
        """Return those parts of a lab that faults of the Kubernetes API need."""
        return cast(KubeApiLab, SimpleNamespace(kube_api=self.url, process=lambda role: role))


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    directory = tmp_path_factory.mktemp("kube")
    with running_kubeapi(directory) as server:
        path = directory / "clients"
        write_kubeconfig(path, f"{server.url}{CLIENTS}{{client}}", NAMESPACE, clients=NAMES)
        yield Kube(server.url, path, server.process)


@pytest.fixture
def own(kube: Kube) -> Iterator[Client]:
    """The lab's own client; what pods it leaves are gone after the test."""
    made = kube.client(LAB)
    yield made
    made.clear()


@pytest.fixture
def one(kube: Kube) -> Iterator[Client]:
    with closing(kube.client("scheduler-1")) as made:
        yield made


@pytest.fixture
def two(kube: Kube) -> Iterator[Client]:
    with closing(kube.client("scheduler-2")) as made:
        yield made


def refused(ask: Any, *args: Any, **options: Any) -> ApiException:
    """Return the error that a call is answered with."""
    with pytest.raises(ApiException) as caught:
        ask(*args, **options)
    return caught.value


def seconds(ask: Any, *args: Any, **options: Any) -> float:
    """Return how long a call takes."""
    begun = time.monotonic()
    ask(*args, **options)
    return time.monotonic() - begun


class Call(threading.Thread):
    """A call in the background: its answer, or its error."""

    def __init__(self, ask: Any, *args: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self.answer: Any = None
        self.error: Exception | None = None
        self._ask: Callable[[], Any] = partial(ask, *args, **options)
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._ask()
        except (ApiException, HTTPError, OSError) as error:
            self.error = error

    def over(self, timeout: float = 5.0) -> bool:
        self.join(timeout)
        return not self.is_alive()
