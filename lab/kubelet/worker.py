"""One pod's life on the node, from its binding to its removal."""

import asyncio
import logging
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.kubelet import status
from lab.kubelet.api import PodsAPI
from lab.kubelet.pods import ConfigError, Pod, command_of
from lab.kubelet.runtime import Container, Runtime, StartError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """What all pods of a kubelet share: its name, what runs them, how many at once.

    `start_delay` tells the seconds that the next pod stays ContainerCreating, as while an image is
    pulled.
    """

    name: str
    api: PodsAPI
    runtime: Runtime
    logs: Path
    capacity: asyncio.Semaphore
    start_delay: Callable[[], float] = float


class PodWorker:
    """Runs one pod and reports it. `run` ends when there is nothing left to do for the pod."""

    def __init__(self, pod: Pod, node: Node) -> None:
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
        """Start the pod and see it to its end; a kubelet has no time to tell of a quick start."""
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
        except StartError as error:
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
        if seconds > 0:
            try:
                await asyncio.wait_for(self._ending.wait(), seconds)
            except TimeoutError:
                return False
        return self._ending.is_set()

    def _stop(self, container: Container, first: bool) -> None:
        if first:
            container.signal(signal.SIGTERM)
        kill: Callable[[int], None] = container.signal
        asyncio.get_running_loop().call_later(self._grace, kill, signal.SIGKILL)
