"""Follows a namespace's pods, and takes each from its binding to its removal.

watch --> Kubelet --> a PodWorker a pod --> Runtime: a process, a fork, or a simulation
                          |
                          '--> the API: bind, report, delete
"""

import asyncio
import logging
import math
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from common.files import write_whole
from lab.kubelet import status
from lab.kubelet.api import Expired, PodsAPI, Unavailable
from lab.kubelet.pods import ConfigError, ContainerCommand, Pod, command_of

_LOG = logging.getLogger(__name__)

START_DELAY = "start_delay"
"""A file in the kubelet's --work directory: the seconds that pods from the next one on wait."""

# A kubelet gives a pod that vanished (grace period 0) this long, whatever was asked.
_VANISHED_GRACE_SECONDS = 1
_RESUME_SECONDS = 0.1


class ContainerStartError(Exception):
    """The command could not be executed; the text says why, as a container runtime would."""


class Container(Protocol):
    """One container that was started."""

    async def wait(self) -> int:
        """Return the exit code once the container ended: 128 + n if signal n ended it."""
        ...

    def signal(self, number: int) -> None:
        """Signal the container's processes; nothing happens when it has ended."""
        ...


class Runtime(Protocol):
    """Starts containers."""

    async def open(self) -> None:
        """Make ready; raises UserError where that cannot be."""
        ...

    async def start(self, command: ContainerCommand) -> Container:
        """Start a command; raises ContainerStartError if it cannot be executed."""
        ...

    async def broken(self) -> None:
        """Wait until this runtime can serve no longer, and raise UserError saying so."""
        ...

    async def close(self) -> None:
        """End all containers at once, and what started them."""
        ...


@dataclass(frozen=True)
class KubeletNode:
    """What all pods of a kubelet share: its name, what runs them, how many at once.

    `start_delay` returns the seconds that the next pod stays ContainerCreating, as while an image
    is pulled.
    """

    name: str
    api: PodsAPI
    runtime: Runtime
    logs: Path
    capacity: asyncio.Semaphore
    start_delay: Callable[[], float] = float


class PodWorker:
    """Runs one pod and reports it. `run` ends when there is nothing left to do for the pod."""

    def __init__(self, pod: Pod, node: KubeletNode) -> None:
        self._pod = pod
        self._node = node
        self._grace = math.inf
        self._ending = asyncio.Event()
        self._container: Container | None = None
        self._started = status.now()
        self._status: dict[str, Any] = {}
        if pod.metadata.deletion_timestamp:
            self.end(pod.grace)

    def end(self, grace: float) -> None:
        """Stop the container: SIGTERM now, SIGKILL after `grace` seconds.

        Said again with less time (a deletion may be hastened) it only moves the SIGKILL.
        """
        if grace >= self._grace:
            return
        first = math.isinf(self._grace)
        self._grace = grace
        self._ending.set()
        if self._container is not None:
            self._stop(self._container, first)

    async def run(self) -> None:
        """Bring the pod to an end, and remove it if its deletion was asked for."""
        pod = self._pod
        unseen = not pod.status.container_statuses
        if pod.ended:
            pass
        elif unseen:
            async with self._node.capacity:
                if pod.spec.node_name or await self._node.api.bind(pod, self._node.name):
                    await self._live()
        else:  # the container of a kubelet that is no more: it died with it
            await self._report(status.lost(pod, self._started))
        if self._ending.is_set():
            await self._node.api.delete(pod)

    async def _live(self) -> None:
        """Start the pod and see it to its end; a kubelet has no time to report a quick start."""
        pod = self._pod
        delay = self._node.start_delay()
        if delay > 0:
            await self._report(status.waiting(pod, self._started))
        if await self._ends_within(delay):
            await self._report(status.lost(pod, self._started))
            return
        try:
            command = command_of(pod, self._node.name, self._node.logs)
            self._container = await self._node.runtime.start(command)
        except ConfigError as error:
            reason = "CreateContainerConfigError"
            await self._report(status.waiting(pod, self._started, reason, str(error)))
            await self._ending.wait()
            await self._report(status.lost(pod, self._started))
        except ContainerStartError as error:
            await self._report(status.unstartable(pod, self._started, str(error)))
        else:
            await self._attend(self._container, command.log)

    async def _attend(self, container: Container, log: Path) -> None:
        """Report that the container runs, and its end; an API that is down delays neither."""
        since = status.now()
        if self._ending.is_set():
            self._stop(container, first=True)
        self._status = status.running(self._pod, self._started, since)
        reporting = asyncio.create_task(self._node.api.report(self._pod, self._latest))
        code = await container.wait()
        self._status = final = status.ended(self._pod, self._started, since, code, log)
        if await reporting is not final:
            await self._report(final)
        _LOG.info("Pod %s %s with exit code %d.", self._pod.metadata.name, final["phase"], code)

    async def _report(self, new: dict[str, Any]) -> None:
        self._status = new
        await self._node.api.report(self._pod, self._latest)

    def _latest(self) -> dict[str, Any]:
        return self._status

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
        return self._ending.is_set()

    def _stop(self, container: Container, first: bool) -> None:
        if first:
            container.signal(signal.SIGTERM)
        kill: Callable[[int], None] = container.signal
        asyncio.get_running_loop().call_later(self._grace, kill, signal.SIGKILL)


class Kubelet:
    """Lists, watches, and never loses a pod: after 410 it lists anew, after a break it resumes."""

    def __init__(self, api: PodsAPI, node: KubeletNode) -> None:
        self._api = api
        self._node = node
        self._workers: dict[str, PodWorker] = {}
        # Pods done with. A watch still reports their past, which must not start them again.
        self._done: set[str] = set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow the pods for ever; `ready` is called once, when none can be missed any more."""
        async with asyncio.TaskGroup() as tasks:
            version = await self._relist(tasks)
            ready()
            while True:
                try:
                    async for kind, seen, pod in self._api.watch(version):
                        version = seen
                        if pod is not None:
                            self._see(tasks, kind, pod)
                except Expired:
                    version = await self._relist(tasks)
                except Unavailable as error:
                    _LOG.debug("The watch broke: %s", error)
                await asyncio.sleep(_RESUME_SECONDS)

    async def _relist(self, tasks: asyncio.TaskGroup) -> str:
        listed = await self._api.pods()
        present = {pod.key for pod in listed.items}
        self._done &= present
        for uid in self._workers.keys() - present:
            self._workers[uid].end(_VANISHED_GRACE_SECONDS)
        for pod in listed.items:
            self._see(tasks, "ADDED", pod)
        return listed.metadata.resource_version

    def _see(self, tasks: asyncio.TaskGroup, kind: str, pod: Pod) -> None:
        worker = self._workers.get(pod.key)
        deleted = pod.metadata.deletion_timestamp is not None
        if kind == "DELETED":
            self._done.discard(pod.key)
            if worker is not None:
                worker.end(_VANISHED_GRACE_SECONDS)
        elif worker is not None:
            if deleted:
                worker.end(pod.grace)
        elif kind == "MODIFIED" and pod.removed:
            pass  # a watch's next word on it is DELETED
        elif self._is_ours(pod) and (deleted or not (pod.ended or pod.key in self._done)):
            self._workers[pod.key] = PodWorker(pod, self._node)
            tasks.create_task(self._work(pod))

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.node_name in (None, self._node.name)

    async def _work(self, pod: Pod) -> None:
        await self._workers[pod.key].run()
        del self._workers[pod.key]
        self._done.add(pod.key)


def write_start_delay(work: Path, seconds: float) -> None:
    """Make each pod from the next one on wait `seconds`, while a kubelet runs."""
    write_whole(work / START_DELAY, f"{seconds:g}")


def start_delay(work: Path, otherwise: float) -> float:
    """Return the seconds in the directory's file, `otherwise` where there is none."""
    try:
        return float((work / START_DELAY).read_text())
    except (FileNotFoundError, ValueError):
        return otherwise
