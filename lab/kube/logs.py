"""Follows the logs of pods into files, across container restarts and lost connections."""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3.exceptions
from kubernetes.client import ApiException, CoreV1Api

from lab.kube.client import Access, access_of, end_reads
from lab.kube.failures import explained, missing_rule
from lab.kube.pods import list_pods, statuses

log = logging.getLogger(__name__)

_POLL = 2.0
_CHUNK = 65536
_REFUSED = (401, 403)
_OVERLAP = timedelta(seconds=2)
_REMEMBER = timedelta(seconds=4)


@dataclass(frozen=True)
class _Instance:
    """One run of a container: `started` is its container ID, which a restart changes."""

    pod: str
    uid: str
    container: str
    started: str
    restarts: int
    ended: bool
    file: str

    @property
    def key(self) -> tuple[str, str]:
        return self.uid, self.container


class _Trouble:
    """Says what a role lacks once, however many pods and polls meet it."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, error: Exception, what: str) -> None:
        """Say what a failure means."""
        rule = missing_rule(error) or str(getattr(error, "status", ""))
        if getattr(error, "status", None) not in _REFUSED:
            log.debug("%s: %s", what, error)
        elif rule not in self._said:
            self._said.add(rule)
            log.warning("%s", explained(error, what))


class LogFollower:
    """Writes what matching pods log into `folder`/<pod>.log, until `stop`.

    A pod with several regular containers has <pod>.<container>.log instead, one for each. Lines
    are neither lost nor doubled when a connection breaks off, as far as the API tells: a container
    that restarts twice within a poll (two seconds), or a pod that comes and goes within one,
    leaves nothing to ask for.
    """

    def __init__(self, client: Any, namespace: str, selector: str, folder: Path) -> None:
        self._core = CoreV1Api(client)
        self._access = access_of(client)
        self._namespace = namespace
        self._selector = selector
        self._folder = folder
        self._streams: dict[tuple[str, str], _FollowedLog] = {}
        self._trouble = _Trouble()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="log-follower", daemon=True)

    def start(self) -> None:
        """Begin to follow, from each log's beginning."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; what has come is in the files."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for stream in self._streams.values():
            stream.stop()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                found = list(self._instances())
            except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                self._trouble.say(error, "Logs are not followed: the pods cannot be listed")
            else:
                self._follow(found)
            self._stopping.wait(_POLL)

    def _follow(self, found: list[_Instance]) -> None:
        for instance in found:
            if instance.key not in self._streams:
                self._streams[instance.key] = _FollowedLog(
                    self._access, self._namespace, self._folder / instance.file, self._trouble
                )
            self._streams[instance.key].follow(instance)
        for key in self._streams.keys() - {instance.key for instance in found}:
            if not self._streams[key].is_busy():
                del self._streams[key]

    def _instances(self) -> Iterator[_Instance]:
        for pod in list_pods(self._core, self._namespace, self._selector):
            several = len(pod.spec.containers) > 1
            name = pod.metadata.name
            for status in statuses(pod):
                if not status.container_id:
                    continue
                yield _Instance(
                    name,
                    pod.metadata.uid,
                    status.name,
                    status.container_id,
                    status.restart_count,
                    status.state.running is None,
                    f"{name}.{status.name}.log" if several else f"{name}.log",
                )


class _FollowedLog:
    """The log of one container of one pod, over all of its restarts."""

    def __init__(self, access: Access, namespace: str, path: Path, trouble: "_Trouble") -> None:
        self._access = access
        self._namespace = namespace
        self._path = path
        self._trouble = trouble
        self._written = _Written()
        self._followed = ""
        self._finished = ""
        self._sock: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def is_busy(self) -> bool:
        """Return whether lines may still come."""
        return self._thread is not None and self._thread.is_alive()

    def follow(self, instance: _Instance) -> None:
        """Have this run of the container followed, unless it is or has been to its end."""
        if self.is_busy() or instance.started == self._finished:
            return
        self._thread = threading.Thread(target=self._read, args=(instance,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the reading."""
        self._stopping = True
        if self._sock is not None:
            end_reads(self._sock)
        if self._thread is not None:
            self._thread.join(5)

    def _read(self, instance: _Instance) -> None:
        try:
            if self._followed != instance.started and instance.restarts:
                self._fetch(instance, previous="true")
            self._followed = instance.started
            self._fetch(instance, follow="true")
            if instance.ended:
                self._finished = instance.started
        except (OSError, HTTPException) as error:
            if not self._stopping:
                log.debug("The log of %s broke off: %s", instance.pod, error)

    def _fetch(self, instance: _Instance, **options: str) -> None:
        """Append what the API gives, from a little before the newest line that was written."""
        query = {"container": instance.container, "timestamps": "true", **options}
        if since := self._written.since():
            query["sinceTime"] = since
        path = f"/api/v1/namespaces/{self._namespace}/pods/{instance.pod}/log"
        url = f"{self._access.prefix}{path}?{urlencode(query)}"
        identity = self._access.identity()
        connection = self._access.connect(10.0)
        self._sock = connection.sock
        try:
            connection.putrequest("GET", url)
            for name, value in self._access.headers(identity):
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            self._sock.settimeout(None)
            if response.status == 200 and not self._stopping:
                self._append(response, whole=instance.ended or "previous" in options)
            elif response.status != 401 or not self._access.renew(identity):
                refused = ApiException(status=response.status, reason=response.reason)
                refused.body = response.read(_CHUNK).decode(errors="replace")
                self._trouble.say(refused, f"The log of {instance.pod} is not followed")
        finally:
            self._sock = None
            connection.close()

    def _append(self, response: HTTPResponse, *, whole: bool) -> None:
        """Write the new lines; a last one without its end only when nothing can follow it."""
        rest = b""
        known = self._written.lines()
        with self._path.open("ab", buffering=0) as file:
            while data := response.read1(_CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                file.write(self._new(lines, known))
            if rest and whole:
                file.write(self._new([rest], known))

    def _new(self, lines: list[bytes], known: Counter[bytes]) -> bytes:
        """Return the lines not written yet, without the timestamps that the API put before them."""
        new = []
        for line in lines:
            if known[line]:
                known[line] -= 1
                continue
            self._written.add(line)
            new.append(line.partition(b" ")[2] + b"\n")
        return b"".join(new)


class _Written:
    """Remembers the lines of the last seconds, to know them when they come again.

    The API's sinceTime counts in whole seconds, and stdout and stderr are not in perfect order, so
    a reconnection asks for some seconds more than it needs.
    """

    def __init__(self) -> None:
        self._older: Counter[bytes] = Counter()
        self._latest: Counter[bytes] = Counter()
        self._begun = self._newest = datetime.min
        self._second, self._zone = b"", "Z"

    def add(self, line: bytes) -> None:
        """Remember a line that begins with its RFC 3339 timestamp."""
        if line[:19] > self._second:
            self._second = line[:19]
            stamp = line.partition(b" ")[0].decode(errors="replace")
            self._newest = datetime.fromisoformat(stamp[:19])
            self._zone = stamp[19:].lstrip(".0123456789")
            if self._newest - self._begun > _REMEMBER:
                self._older, self._latest = self._latest, Counter()
                self._begun = self._newest
        self._latest[line] += 1

    def lines(self) -> Counter[bytes]:
        """Return what is remembered; it covers at least what comes `since`."""
        return self._older + self._latest

    def since(self) -> str:
        """Return the sinceTime to ask for; empty when nothing was written."""
        if not self._second:
            return ""
        return (self._newest - _OVERLAP).isoformat() + self._zone
