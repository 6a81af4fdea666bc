"""What a container of somebody else's pod has: its environment, its files, Airflow's settings.

    env, envFrom  -- values, Secrets, ConfigMaps -->  variables, $(NAME) expanded
    volumeMounts  -- Secrets, ConfigMaps --------->   files
    airflow.cfg   -- one of those files ---------->   settings

What a pod makes itself (a command's output, an image's own file) cannot be seen from here, and is
told by name.
"""

import base64
import configparser
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException

from common.errors import UserError
from lab.kube.failures import explained

_HOME = "/opt/airflow"
_CONFIG = "airflow.cfg"
_REFERENCE = re.compile(r"\$(\$|\((?P<name>[-._a-zA-Z][-._a-zA-Z0-9]*)\))")
_SHELL = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)


class Unreadable(UserError):
    """A Secret or a ConfigMap that a pod has and we cannot read."""


@dataclass(frozen=True)
class Source:
    """Where the keys of a Secret or a ConfigMap are."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Objects:
    """Reads Secrets and ConfigMaps, each once."""

    def __init__(self, core: Any, namespace: str) -> None:
        self._core = core
        self._namespace = namespace
        self._known: dict[Source, dict[str, bytes]] = {}

    def source(self, kind: str, name: str) -> Source:
        """Name an object of the namespace."""
        return Source(kind, self._namespace, name)

    def data(self, source: Source, *, optional: bool = False) -> dict[str, bytes]:
        """Return what an object holds, by key. Raises Unreadable, with what to allow."""
        if source not in self._known:
            try:
                self._known[source] = self._read(source)
            except ApiException as error:
                if error.status == 404 and optional:
                    return {}
                what = f"{source} in {source.namespace}"
                if error.status == 404:
                    raise Unreadable(f"There is no {what}, which the pods need.") from None
                told = explained(error, f"{what} cannot be read")
                raise Unreadable(told.message, told.hint) from None
        return self._known[source]

    def value(self, source: Source, key: str, *, optional: bool = False) -> str | None:
        """Return one key's text; None where it is not there and need not be. Raises Unreadable."""
        found = self.data(source, optional=optional)
        if key in found:
            return found[key].decode(errors="replace")
        if optional:
            return None
        raise Unreadable(f"{source} in {source.namespace} has no key {key}.")

    def _read(self, source: Source) -> dict[str, bytes]:
        if source.kind == "Secret":
            found = self._core.read_namespaced_secret(
                source.name, source.namespace, _request_timeout=10
            )
            return {key: base64.b64decode(each) for key, each in (found.data or {}).items()}
        found = self._core.read_namespaced_config_map(
            source.name, source.namespace, _request_timeout=10
        )
        binary = {key: base64.b64decode(each) for key, each in (found.binary_data or {}).items()}
        return {key: each.encode() for key, each in (found.data or {}).items()} | binary


class Container:
    """One container of a pod. `unread` are the objects that may hold more and could not be read."""

    def __init__(self, objects: Objects, pod: Any, container: Any) -> None:
        self._objects = objects
        self._pod = pod
        self._container = container
        self._entries = {each.name: each for each in container.env or ()}
        self._config: configparser.ConfigParser | None = None
        self.unread: list[Source] = []
        self._config_from = ""

    @property
    def name(self) -> str:
        """Return whose container it is."""
        return str(self._pod.metadata.name)

    def names_by_pod(self, variable: str) -> bool | None:
        """Tell whether a variable is the pod's own name; None where there is no such variable."""
        entry = self._entries.get(variable)
        if entry is None:
            return None if self.variable(variable) is None else False
        reference = entry.value_from and entry.value_from.field_ref
        return reference is not None and reference.field_path == "metadata.name"

    def variable(self, name: str) -> str | None:
        """Return a variable's value, None where it has none. Raises Unreadable."""
        found = self.found(name)
        return found[0] if found else None

    def found(self, name: str) -> tuple[str, str] | None:
        """Return a variable's value and where it comes from, None where it is not set.

        Raises Unreadable where it is known which object has it.
        """
        if (entry := self._entries.get(name)) is not None:
            return self._of_entry(entry, frozenset())
        for each in reversed(self._container.env_from or ()):
            reference, kind = each.secret_ref, "Secret"
            if reference is None:
                reference, kind = each.config_map_ref, "ConfigMap"
            if reference is None or not name.startswith(each.prefix or ""):
                continue
            key = name.removeprefix(each.prefix or "")
            source = self._objects.source(kind, reference.name)
            value = self._of_all(source).get(key)
            if value is not None:
                return value.decode(errors="replace"), f"{source}, key {key}"
        return None

    def _of_all(self, source: Source) -> dict[str, bytes]:
        """Return all of an object whose variables nobody names; what is refused is remembered."""
        if source in self.unread:
            return {}
        try:
            return self._objects.data(source, optional=True)
        except Unreadable:
            self.unread.append(source)
            return {}

    def _of_entry(self, entry: Any, above: frozenset[str]) -> tuple[str, str] | None:
        if entry.value_from is None:
            return self._expanded(entry, above)
        of = entry.value_from
        for reference, kind in (
            (of.secret_key_ref, "Secret"),
            (of.config_map_key_ref, "ConfigMap"),
        ):
            if reference is not None:
                source = self._objects.source(kind, reference.name)
                optional = bool(reference.optional)
                value = self._objects.value(source, reference.key, optional=optional)
                return None if value is None else (value, f"{source}, key {reference.key}")
        if of.field_ref is not None:
            fields = {
                "metadata.name": self._pod.metadata.name,
                "metadata.namespace": self._pod.metadata.namespace,
                "status.podIP": self._pod.status.pod_ip,
            }
            return str(
                fields.get(of.field_ref.field_path) or ""
            ), f"field {of.field_ref.field_path}"
        return None

    def _expanded(self, entry: Any, above: frozenset[str]) -> tuple[str, str] | None:
        """Expand $(NAME) as a kubelet does: by what the container has, else it stays as it is."""
        sources = [f"variable {entry.name}"]
        above |= {entry.name}

        def instead(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                return "$"
            other = self._entries.get(name) if name not in above else None
            found = self._of_entry(other, above) if other is not None else None
            if found is None and name not in self._entries:
                found = self.found(name)
            if found is None:
                return match[0]
            sources.append(found[1])
            return found[0]

        value = _REFERENCE.sub(instead, entry.value or "")
        return (value, " with ".join(sources)) if value else None

    def file(self, path: str) -> tuple[str, str] | None:
        """Return a file's text and where it is mounted from; None where no object mounts it.

        Raises Unreadable where one does.
        """
        path = posixpath.normpath(path)
        mounts = sorted(self._container.volume_mounts or (), key=lambda m: -len(m.mount_path))
        for mount in mounts:
            place = posixpath.normpath(mount.mount_path)
            if path != place and not path.startswith(place.rstrip("/") + "/"):
                continue
            inside = posixpath.relpath(path, place)
            inside = posixpath.normpath(posixpath.join(mount.sub_path or "", inside))
            for source, key in self._mounted(mount.name, inside):
                value = self._objects.data(source, optional=True).get(key)
                if value is not None:
                    return value.decode(errors="replace"), f"{source}, key {key}"
            return None
        return None

    def _mounted(self, volume: str, path: str) -> Iterator[tuple[Source, str]]:
        """Yield the keys that a path in a volume may be."""
        for each in self._pod.spec.volumes or ():
            if each.name != volume:
                continue
            for part in [each, *((each.projected and each.projected.sources) or ())]:
                if part.secret is not None:
                    name = getattr(part.secret, "secret_name", None) or part.secret.name
                    yield from self._keys(self._objects.source("Secret", name), part.secret, path)
                if part.config_map is not None:
                    source = self._objects.source("ConfigMap", part.config_map.name)
                    yield from self._keys(source, part.config_map, path)

    @staticmethod
    def _keys(source: Source, of: Any, path: str) -> Iterator[tuple[Source, str]]:
        if not of.items:
            yield source, path
        for item in of.items or ():
            if posixpath.normpath(item.path) == path:
                yield source, item.key

    def setting(self, section: str, key: str, default: str = "") -> str:
        """Return a setting of Airflow's as it would read it, or the default.

        `team=section` is a section of a team's own. Raises Unreadable.
        """
        found = self.found_setting(section, key)
        return (found[0] if found else "") or default

    def found_setting(self, section: str, key: str) -> tuple[str, str] | None:
        """Return a setting and where it comes from: the environment, then airflow.cfg."""
        team, _, section_of = section.rpartition("=")
        prefix = f"AIRFLOW__{team}___{section_of}" if team else f"AIRFLOW__{section}"
        return self.found_expanded(f"{prefix}__{key}".upper()) or self.in_file(section, key)

    def found_expanded(self, variable: str) -> tuple[str, str] | None:
        """Return a variable as Airflow reads it, and where it comes from."""
        found = self.found(variable)
        return (self._expand(found[0]), found[1]) if found and found[0] else None

    def in_file(self, section: str, key: str) -> tuple[str, str] | None:
        """Return what airflow.cfg has, and where that is from."""
        value = self._file().get(section, key, fallback="")
        return (self._expand(value), f"[{section}] {key} of {self._config_from}") if value else None

    def _expand(self, value: str) -> str:
        """Expand $NAME as Airflow does, by the container's variables."""

        def instead(match: re.Match[str]) -> str:
            return self.variable(match[1] or match[2]) or match[0]

        return _SHELL.sub(instead, value)

    def _file(self) -> configparser.ConfigParser:
        if self._config is None:
            self._config = configparser.ConfigParser(interpolation=None, strict=False)
            home = self.variable("AIRFLOW_HOME") or _HOME
            path = self.variable("AIRFLOW_CONFIG") or posixpath.join(home, _CONFIG)
            found = self.file(path) or self._by_sub_path()
            text, self._config_from = found or ("", "")
            try:
                self._config.read_string(text)
            except configparser.Error:
                raise UserError(
                    f"The airflow.cfg of {self._config_from} cannot be read: it is no INI file."
                ) from None
        return self._config

    def _by_sub_path(self) -> tuple[str, str] | None:
        """Look where the chart mounts it, whatever AIRFLOW_HOME the image has."""
        for mount in self._container.volume_mounts or ():
            if posixpath.basename(mount.mount_path) == _CONFIG or mount.sub_path == _CONFIG:
                return self.file(mount.mount_path)
        return None
