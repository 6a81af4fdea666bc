"""The loop that follows a namespace's pods and gives each new one a worker."""

import asyncio
import logging
from collections.abc import Callable

from lab.kubelet.api import Expired, PodsAPI, Unavailable
from lab.kubelet.pods import Pod
from lab.kubelet.worker import Node, PodWorker

_LOG = logging.getLogger(__name__)

# A kubelet gives a pod that vanished (grace period 0) this long, whatever was asked.
_VANISHED_GRACE_SECONDS = 1
_RESUME_SECONDS = 0.1


class Kubelet:
    """Lists, watches, and never loses a pod: after 410 it lists anew, after a break it resumes."""

    def __init__(self, api: PodsAPI, node: Node) -> None:
        self._api = api
        self._node = node
        self._workers: dict[str, PodWorker] = {}
        # Pods done with. A watch still tells of their past, which must not start them again.
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
        elif self._is_ours(pod) and (deleted or not (pod.ended or pod.key in self._done)):
            self._workers[pod.key] = PodWorker(pod, self._node)
            tasks.create_task(self._work(pod))

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.node_name in (None, self._node.name)

    async def _work(self, pod: Pod) -> None:
        await self._workers[pod.key].run()
        del self._workers[pod.key]
        self._done.add(pod.key)
