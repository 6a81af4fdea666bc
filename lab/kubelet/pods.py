"""The parts of a pod that the kubelet reads, and the command it is to run.

Field names are the Kubernetes API's. Whatever is not named here is skipped while decoding, which
keeps a watch cheap: it sees each pod some six times.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

_GRACE = 30  # seconds, the API's default terminationGracePeriodSeconds
_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")


class _Part(msgspec.Struct, rename="camel"):
    """One object of the API; absent fields take their defaults."""


class FieldRef(_Part):
    """A reference to a field of the pod itself."""

    field_path: str


class EnvSource(_Part):
    """Where a variable's value comes from; other sources than the pod decode to nothing."""

    field_ref: FieldRef | None = None


class EnvVar(_Part):
    """One variable of a container."""

    name: str
    value: str | None = None
    value_from: EnvSource | None = None


class ContainerSpec(_Part):
    """What a container is asked to run."""

    name: str
    image: str = ""
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[msgspec.Raw] | None = None
    termination_message_policy: str = "File"


class Metadata(_Part):
    """Who a pod is, and whether it is to go; a bookmark's has only the version."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class PodSpec(_Part):
    """Where a pod runs, and what."""

    containers: list[ContainerSpec]
    node_name: str | None = None
    init_containers: list[ContainerSpec] | None = None
    termination_grace_period_seconds: int | None = None


class PodStatus(_Part):
    """How far a pod got."""

    phase: str = "Pending"
    container_statuses: list[msgspec.Raw] | None = None


class Pod(_Part):
    """A pod as the kubelet sees it."""

    metadata: Metadata
    spec: PodSpec
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def key(self) -> str:
        """Return the uid: names come again, uids do not."""
        return self.metadata.uid

    @property
    def ended(self) -> bool:
        """Return whether the pod is in a phase that it never leaves."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def removed(self) -> bool:
        """Return whether the API removes the pod itself: no grace is left, or needed."""
        return self.metadata.deletion_grace_period_seconds == 0

    @property
    def container(self) -> ContainerSpec:
        """Return the container that the kubelet runs."""
        return self.spec.containers[0]

    @property
    def grace(self) -> int:
        """Return the seconds between SIGTERM and SIGKILL, never less than 1, as kubelets do."""
        for seconds in (
            self.metadata.deletion_grace_period_seconds,
            self.spec.termination_grace_period_seconds,
        ):
            if seconds is not None:
                return max(seconds, 1)
        return _GRACE


class ListMetadata(_Part):
    """The version of a list."""

    resource_version: str


class PodList(_Part):
    """All pods; `resourceVersion` of its metadata is where a watch goes on."""

    metadata: ListMetadata
    items: list[Pod]


class WatchEvent(_Part):
    """One line of a watch; the object's shape depends on the type."""

    type: str
    object: msgspec.Raw


class Status(_Part):
    """What the API answers when it refuses."""

    code: int = 0
    reason: str = ""
    message: str = ""


class ConfigError(Exception):
    """The pod asks for something that this kubelet does not have; the text names it."""


@dataclass(frozen=True)
class ContainerCommand:
    """A container ready to be started: its words, its own variables, and its log."""

    pod: str
    uid: str
    argv: list[str]
    env: dict[str, str]
    log: Path


def command_of(pod: Pod, node: str, logs: Path) -> ContainerCommand:
    """Return what to run for a pod bound to `node`, `$(NAME)` in its words replaced.

    Raises ConfigError for what a worker pod does not need and this kubelet does not offer.
    """
    container = pod.container
    if len(pod.spec.containers) > 1 or pod.spec.init_containers:
        raise ConfigError("only pods with one container and no init containers are supported")
    if container.env_from:
        raise ConfigError("envFrom is not supported")
    words = [*(container.command or []), *(container.args or [])]
    if not words:
        raise ConfigError("the container has no command and no args, and images are not run")
    env = _environment(pod, node)
    return ContainerCommand(
        pod=pod.metadata.name,
        uid=pod.key,
        argv=[_expand(word, env) for word in words],
        env=env,
        log=logs / f"{pod.metadata.name}.log",
    )


def _environment(pod: Pod, node: str) -> dict[str, str]:
    fields = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": node,
    }
    env: dict[str, str] = {}
    for variable in pod.container.env or []:
        source = variable.value_from
        if source is None:
            env[variable.name] = _expand(variable.value or "", env)
        elif source.field_ref is not None and source.field_ref.field_path in fields:
            env[variable.name] = fields[source.field_ref.field_path]
        else:
            raise ConfigError(
                f"variable {variable.name} is neither a value nor one of {', '.join(fields)}"
            )
    return env


def _expand(word: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the container's variable; `$$` is a dollar, an unknown name stays."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else env.get(name, match.group(0))

    return _REFERENCE.sub(replace, word)
