"""Whether a pooler is in the way to a database: told by what the pods there mount, not by names."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.cluster.container import Container, Objects, Unreadable
from lab.cluster.url import PORT, Database

UNKNOWN = "unknown"

_INI = "pgbouncer.ini"
_FOLDERS = ("/etc/pgbouncer", "/bitnami/pgbouncer/conf", "/opt/bitnami/pgbouncer/conf")
_SECTION = re.compile(r"\s*\[(\w+)\]\s*")
_WORD = re.compile(r"(\w+)\s*=\s*(?:'((?:[^']|'')*)'|(\S+))")


@dataclass(frozen=True)
class Pooler:
    """PgBouncer, as its pgbouncer.ini says; `mode` is session, transaction, statement or unknown.

    `source` is where that file is mounted from, or why it cannot be read. `pod` is whose it is.
    """

    mode: str
    source: str
    databases: tuple[tuple[str, dict[str, str]], ...] = ()
    namespace: str = ""

    def behind(self, database: Database) -> Database:
        """Return the database that it leads to: the recorder goes past the pooler.

        An entry is `name = host=... port=... dbname=...`; what it leaves out stays as it was.
        """
        entries = dict(self.databases)
        words = entries.get(database.name, entries.get("*", {}))
        if "host" not in words:
            return database
        return replace(
            database,
            host=words["host"],
            port=int(words.get("port", PORT)),
            name=words.get("dbname", database.name),
            user=words.get("user", database.user),
            password=words.get("password", database.password),
            address="",
        )

    def mode_of(self, name: str) -> str:
        """Return how sessions of a database are pooled: its entry may say otherwise."""
        entries = dict(self.databases)
        return entries.get(name, entries.get("*", {})).get("pool_mode", self.mode)


def pooler_of(core: Any, pods: Sequence[Any], port: int) -> Pooler | None:
    """Return the PgBouncer that listens in these pods at this port, None where none does."""
    for pod in pods[:1]:
        objects = Objects(core, pod.metadata.namespace)
        for each in pod.spec.containers:
            found = _pooler(Container(objects, pod, each), pod, each, port)
            if found is not None:
                return replace(found, namespace=pod.metadata.namespace)
    return None


def _pooler(container: Container, pod: Any, of: Any, port: int) -> Pooler | None:
    try:
        for path in _paths(of):
            if (found := container.file(path)) is not None:
                return parse(*found, port)
    except Unreadable as error:
        return Pooler(UNKNOWN, str(error))
    is_one = of.name == "pgbouncer" or (pod.metadata.labels or {}).get("component") == "pgbouncer"
    ports = [each.container_port for each in of.ports or ()]
    if is_one and (port in ports or not ports):
        return Pooler(UNKNOWN, f"no Secret or ConfigMap has the {_INI} of {pod.metadata.name}")
    return None


def _paths(container: Any) -> Iterator[str]:
    """Yield where its configuration may be: where the command says, or as the images have it."""
    for word in [*(container.command or ()), *(container.args or ())]:
        yield from re.findall(r"/[^\s;\"']+\.ini\b", word)
    for mount in container.volume_mounts or ():
        path = str(mount.mount_path)
        if posixpath.basename(path) == _INI:
            yield path
        elif path.rstrip("/") in _FOLDERS or "pgbouncer" in path:
            yield posixpath.join(path, _INI)


def parse(ini: str, source: str, port: int = 0) -> Pooler | None:
    """Read a pgbouncer.ini; None where it is of one that listens at another port."""
    section, settings, databases = "", {"pool_mode": "session"}, []
    for line in ini.splitlines():
        if found := _SECTION.fullmatch(line):
            section = found[1].lower()
            continue
        key, equals, rest = line.partition("=")
        key = key.strip().strip('"')
        if not equals or key.startswith((";", "#")):
            continue
        if section == "databases":
            words = {name: (quoted or plain) for name, quoted, plain in _WORD.findall(rest)}
            databases.append((key, words))
        else:
            settings[key.lower()] = rest.strip()
    if port and settings.get("listen_port", str(port)) != str(port):
        return None
    return Pooler(settings["pool_mode"], source, tuple(databases))
