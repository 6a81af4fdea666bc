"""What a cluster tells of a failure: Warning events and a container's last words.

For people to read, and so without what nobody but the lab is to know.
"""

import re
from dataclasses import dataclass
from typing import Any

import urllib3.exceptions
from kubernetes.client import ApiException, CoreV1Api

_CAP = 300
_OF_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s@/]*@", re.IGNORECASE)
_OF_SETTING = re.compile(
    r"(\b[\w-]*(?:password|passwd|secret|token|fernet_key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Warned:
    """One Warning event, of the thing that `kind` and `name` say."""

    kind: str
    name: str
    text: str


def redacted(text: str) -> str:
    """Return text without the credentials of URLs and without the values of secret settings."""
    return _OF_SETTING.sub(r"\1***", _OF_URL.sub(r"\1***@", text))


def warnings(core: CoreV1Api, namespace: str) -> list[Warned]:
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
            redacted(_short(f"{each.reason}: {each.message or ''}{_times(each)}")),
        )
        for each in events
    ]


def told_of(events: list[Warned], kind: str, name: str, most: int = 2) -> list[str]:
    """Return the last events of a thing, or of what a controller made for it under its name."""
    mine = [each for each in events if (each.kind, each.name) == (kind, name)]
    if kind == "Deployment":
        mine += [e for e in events if e.kind == "ReplicaSet" and e.name.rpartition("-")[0] == name]
    return list(dict.fromkeys(each.text for each in mine))[-most:]


def last_words(
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
    said = redacted(" | ".join(str(text).strip().splitlines()))
    return said if len(said) <= _CAP else f"...{said[-_CAP:]}"


def _seen(event: Any) -> Any:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp


def _times(event: Any) -> str:
    return f" ({event.count} times)" if (event.count or 1) > 1 else ""


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _CAP else f"{words[:_CAP]}..."
