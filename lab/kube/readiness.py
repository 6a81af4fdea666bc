"""Whether what was deployed is ready, and if not, why: in words, from what the cluster knows.

That is conditions and states, Warning events, and a crashed container's last words; for people to
read, and so without what nobody but the lab is to know.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3.exceptions
from kubernetes.client import ApiException, AppsV1Api, BatchV1Api, CoreV1Api

from common.errors import UserError
from common.redaction import redact
from common.waiting import Deadline
from lab.kube.failures import explained
from lab.kube.pods import is_ready, statuses

log = logging.getLogger(__name__)

# Reasons with which a container waits in vain, and the seconds after which that is certain:
# a Secret may be on its way, a registry may have a bad minute.
_HOPELESS_AFTER = {
    "ErrImageNeverPull": 0.0,
    "InvalidImageName": 0.0,
    "CreateContainerConfigError": 60.0,
    "CreateContainerError": 60.0,
    "RunContainerError": 60.0,
    "ErrImagePull": 120.0,
    "ImagePullBackOff": 120.0,
}
_CRASHES = 4
_PATIENCE = 30.0
_LENGTH = 300


@dataclass(frozen=True)
class Warned:
    """One Warning event, of the thing that `kind` and `name` say."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True)
class Trouble:
    """Why one thing is not ready. `hopeless_after` seconds of it waiting helps no more.

    `kind` and `name` find its events, `crashed` is the container whose last words say more.
    """

    kind: str
    name: str
    what: str
    hopeless_after: float = float("inf")
    crashed: str = ""
    restarted: bool = False

    @property
    def spell(self) -> tuple[str, str, float]:
        """What stays the same while it waits for one reason, whatever the words."""
        return self.kind, self.name, self.hopeless_after

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


def why_not_ready(core: CoreV1Api, namespace: str, only: str = "") -> list[str]:
    """Return a line for each pod, Deployment, StatefulSet and Job that is not as it should be.

    A pod's line goes on with the last words of a crashed container, and with Warning events, whose
    lines are indented. `only` is a label selector. Empty when all is ready.
    """
    return _explained(core, namespace, _troubles(core, namespace, only))


def waiting(
    core: CoreV1Api, namespace: str, timeout: float, say: Callable[[str], None], only: str = ""
) -> Iterator[None]:
    """Look each time that it is resumed, until all is ready; `say` takes what is awaited.

    The caller sleeps between. Nothing at all in the namespace counts as not ready: what was
    deployed has not got its pods yet. Raises UserError after `timeout` seconds, or as soon as
    waiting is hopeless (an image that is never pulled, a container that crashed four times, a
    failed Job), with the reasons.
    """
    deadline, patience, said = Deadline(timeout), Deadline(_PATIENCE), ""
    since: dict[tuple[str, str, float], float] = {}
    while True:
        try:
            troubles = _troubles(core, namespace, only, even_none=True)
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            refused = isinstance(error, ApiException) and error.status in (401, 403)
            if refused or patience.passed:
                raise explained(error, "The cluster does not answer") from error
            yield
            continue
        if not troubles:
            return
        now, patience = time.monotonic(), Deadline(_PATIENCE)
        since = {each.spell: since.get(each.spell, now) for each in troubles}
        lost = [each for each in troubles if now - since[each.spell] >= each.hopeless_after]
        if lost or deadline.passed:
            how = "cannot become ready" if lost else f"was not ready after {timeout:.0f} s"
            ordered = lost + [each for each in troubles if each not in lost]
            lines = [f"Namespace {namespace} {how}.", *_explained(core, namespace, ordered)]
            raise UserError("\n  ".join(lines))
        if (words := _summary(troubles)) != said:
            said = words
            say(words)
        yield


def _summary(troubles: list[Trouble]) -> str:
    """Return one short line: pods first, for they say why."""
    pods = [each for each in troubles if each.kind == "Pod"]
    shown = pods or troubles
    more = f" (and {len(shown) - 1} more)" if len(shown) > 1 else ""
    return str(shown[0])[:150].removesuffix(".") + more


def _explained(core: CoreV1Api, namespace: str, troubles: list[Trouble]) -> list[str]:
    lines = []
    events = _warnings(core, namespace) if troubles else []
    for each in troubles:
        words = str(each)
        if each.crashed:
            last = _last_words(core, namespace, each.name, each.crashed, each.restarted)
            words += f" Its last words: {last}" if last else ""
        lines.append(redact(words))
        lines += [f"  {event}" for event in events_of(events, each.kind, each.name)]
    return lines


def _troubles(
    core: CoreV1Api, namespace: str, only: str, *, even_none: bool = False
) -> list[Trouble]:
    asked = {"label_selector": only, "_request_timeout": 10}
    apps, batch = AppsV1Api(core.api_client), BatchV1Api(core.api_client)
    deployments = apps.list_namespaced_deployment(namespace, **asked).items
    sets = apps.list_namespaced_stateful_set(namespace, **asked).items
    jobs = batch.list_namespaced_job(namespace, **asked).items
    pods = core.list_namespaced_pod(namespace, **asked).items
    if even_none and not (deployments or sets or jobs or pods):
        return [Trouble("Namespace", namespace, f"no pods{f' with {only}' if only else ''} yet")]
    workloads = [_replicas("Deployment", each) for each in deployments]
    workloads += [_replicas("StatefulSet", each) for each in sets]
    workloads += [_job(each) for each in jobs]
    troubled = {each.name for each in workloads if each is not None}
    found = [_pod(each) for each in pods if not _is_replaced(each, troubled)]
    return [each for each in found + workloads if each is not None]


def _is_replaced(pod: Any, troubled: set[str]) -> bool:
    """Return whether a failed pod is history: its Deployment, StatefulSet or Job is well."""
    owners = [each.name for each in pod.metadata.owner_references or () if each.controller]
    if pod.status.phase != "Failed" or not owners:
        return False
    return not troubled & {owners[0], owners[0].rpartition("-")[0]}


def _replicas(kind: str, workload: Any) -> Trouble | None:
    name, status = workload.metadata.name, workload.status
    wanted = 1 if workload.spec.replicas is None else workload.spec.replicas
    if (status.observed_generation or 0) < workload.metadata.generation:
        return Trouble(kind, name, f"the {kind} was not looked at yet.")
    ready, current = status.ready_replicas or 0, status.updated_replicas or 0
    if kind == "StatefulSet" and workload.spec.update_strategy.type == "OnDelete":
        current = wanted
    if min(ready, current) >= wanted and (status.replicas or 0) == wanted:
        return None
    return Trouble(kind, name, f"{min(ready, current)} of {wanted} pods of the {kind} are ready.")


def _job(job: Any) -> Trouble | None:
    name, status = job.metadata.name, job.status
    for condition in status.conditions or ():
        if condition.type == "Complete" and condition.status == "True":
            return None
        if condition.type == "Failed" and condition.status == "True":
            why = f"the Job failed: {condition.message or condition.reason}."
            return Trouble("Job", name, why, hopeless_after=0.0)
    return Trouble("Job", name, f"the Job has not completed ({status.failed or 0} pods failed).")


def _pod(pod: Any) -> Trouble | None:
    """Return what is wrong with a pod; its first container that has a reason stands for all."""
    name, status = pod.metadata.name, pod.status
    conditions = {each.type: each for each in status.conditions or ()}
    if status.phase == "Succeeded" or pod.metadata.deletion_timestamp or is_ready(pod):
        return None
    scheduled = conditions.get("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return Trouble("Pod", name, f"no node takes it: {scheduled.message or scheduled.reason}")
    found = [each for each in (_container(name, c) for c in statuses(pod)) if each is not None]
    if found:
        return min(found, key=lambda each: each.hopeless_after)
    if status.phase == "Failed":
        return Trouble("Pod", name, f"it failed: {status.message or status.reason or 'no reason'}")
    return Trouble("Pod", name, f"it is {status.phase or 'not seen by a node yet'}.")


def _container(pod: str, status: Any) -> Trouble | None:
    """Return what is wrong with one container; None when it is ready, done or not yet asked to."""
    name, state = status.name, status.state
    if state.waiting is not None:
        return _waiting(pod, status)
    if state.terminated is not None and state.terminated.exit_code != 0:
        return Trouble("Pod", pod, f"container {name} {_exit(state.terminated)}.", crashed=name)
    if state.running is not None and not status.ready:
        restarts = f", restarted {status.restart_count} times" if status.restart_count else ""
        return Trouble("Pod", pod, f"container {name} runs and is not ready yet{restarts}.")
    return None


def _waiting(pod: str, status: Any) -> Trouble | None:
    waiting_for, last = status.state.waiting, status.last_state.terminated
    reason = waiting_for.reason or "no reason given"
    if reason == "PodInitializing":
        return None
    after = _HOPELESS_AFTER.get(reason, float("inf"))
    if last is None:
        message = f" ({waiting_for.message})" if waiting_for.message else ""
        what = f"container {status.name} is waiting: {reason}{message}."
        return Trouble("Pod", pod, what, after)
    what = (
        f"container {status.name} {_exit(last)}, is waiting: {reason},"
        f" restarted {status.restart_count} times."
    )
    if reason == "CrashLoopBackOff" and status.restart_count >= _CRASHES:
        after = 0.0
    return Trouble("Pod", pod, what, after, crashed=status.name, restarted=True)


def _exit(terminated: Any) -> str:
    reason = terminated.reason if terminated.reason not in (None, "Error") else ""
    return f"ended with exit code {terminated.exit_code}{f' ({reason})' if reason else ''}"


def _warnings(core: CoreV1Api, namespace: str) -> list[Warned]:
    """Return the Warning events, oldest first; none when they cannot be had."""
    try:
        events = core.list_namespaced_event(
            namespace, field_selector="type=Warning", _request_timeout=10
        ).items
    except (ApiException, urllib3.exceptions.HTTPError):
        return []
    events.sort(key=lambda each: str(_seen(each)))
    return [
        Warned(
            each.involved_object.kind,
            each.involved_object.name,
            redact(_short(f"{each.reason}: {each.message or ''}{_times(each)}")),
        )
        for each in events
    ]


def events_of(events: list[Warned], kind: str, name: str, most: int = 2) -> list[str]:
    """Return the last events of a thing, or of what a controller made for it under its name."""
    mine = [each for each in events if (each.kind, each.name) == (kind, name)]
    if kind == "Deployment":
        mine += [e for e in events if e.kind == "ReplicaSet" and e.name.rpartition("-")[0] == name]
    return list(dict.fromkeys(each.text for each in mine))[-most:]


def _last_words(
    core: CoreV1Api, namespace: str, pod: str, container: str, previous: bool, lines: int = 3
) -> str:
    """Return the last lines of a crashed container in one; empty when there are none."""
    try:
        text = core.read_namespaced_pod_log(
            pod,
            namespace,
            container=container,
            previous=previous,
            tail_lines=lines,
            _request_timeout=10,
        )
    except (ApiException, urllib3.exceptions.HTTPError):
        return ""
    last = redact(" | ".join(str(text).strip().splitlines()))
    return last if len(last) <= _LENGTH else f"...{last[-_LENGTH:]}"


def _seen(event: Any) -> Any:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp


def _times(event: Any) -> str:
    return f" ({event.count} times)" if (event.count or 1) > 1 else ""


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LENGTH else f"{words[:_LENGTH]}..."
