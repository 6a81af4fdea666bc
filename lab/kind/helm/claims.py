"""What of a release is the lab's to say, whatever a user's own values say of it.

Two kinds. What decides which Airflow the verdict is about (its image, its executor, how many
schedulers) must agree with the command line, or the values are refused. What is of the user's
surroundings (database, DAGs, login, volumes) the lab has a substitute for: such a key is taken out,
and its user is told so. Everything else is theirs, and has the last word.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from lab.kind.helm.files import Values
from lab.kind.helm.values import DAGS_FOLDER, comparable

_DATABASE = "the lab has databases of its own"
_DAGS = "the lab runs its own DAGs alone, or those of --dags, from a ConfigMap"
_LOGIN = "the suite logs in by SimpleAuthManager"
_NAMES = "the lab sets it, for its processes and tasks"
_POOLER = "--layer pgbouncer has one that the lab can look through"
_PODS = "the lab's workers run in its own namespace, from its own pod template"
_STORAGE = "a new cluster has no volume that several pods may write"
_API = "the suite asks the API server at its own port, over HTTP, without a prefix"
_IMAGES = "images are loaded onto the nodes and are not pulled anew"

_KEYS = {
    _DATABASE: (
        *("data.metadataSecretName", "data.metadataConnection", "postgresql.enabled"),
        *("data.resultBackendSecretName", "data.resultBackendConnection"),
        *("data.brokerUrlSecretName", "data.brokerUrl", "config.database.sql_alchemy_conn"),
    ),
    _DAGS: (
        *("dags.gitSync.enabled", "dags.persistence.enabled", "dags.mountPath", "airflowHome"),
        *("dagProcessor.dagBundleConfigList", "config.dag_processor.dag_bundle_config_list"),
        *("config.core.dags_folder", "config.core.dags_are_paused_at_creation"),
    ),
    _LOGIN: (
        *("config.core.auth_manager", "config.core.simple_auth_manager_all_admins"),
        *("webserver.defaultUser.enabled", "createUserJob.enabled"),
    ),
    _POOLER: ("pgbouncer.enabled", "pgbouncer.configSecretName"),
    _PODS: (
        *("podTemplate", "multiNamespaceMode", "allowPodLaunching", "rbac.create"),
        *("config.kubernetes_executor.namespace", "config.kubernetes_executor.pod_template_file"),
        "config.kubernetes_executor.multi_namespace_mode",
        "config.kubernetes_executor.worker_container_repository",
        "config.kubernetes_executor.worker_container_tag",
    ),
    _API: (
        *("ports.apiServer", "config.api.base_url", "config.api.port", "config.api.ssl_cert"),
        *("config.webserver.base_url", "config.core.execution_api_server_url"),
    ),
    _STORAGE: ("logs.persistence.enabled",),
    _IMAGES: ("images.airflow.pullPolicy", "images.pod_template.pullPolicy"),
}
"""Keys that are taken out, by the reason why."""

_SUBSTITUTED = {key: why for why, keys in _KEYS.items() for key in keys}

_REPOSITORY, _TAG, _DIGEST = (
    (
        f"images.airflow.{part.lower()}",
        f"defaultAirflow{part}",
        f"images.pod_template.{part.lower()}",
    )
    for part in ("Repository", "Tag", "Digest")
)

_VARIABLE = re.compile(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+?)(?:_CMD|_SECRET)?")
_RESERVED = re.compile(r"PGAPPNAME|HA_CHAOS_\w+")
_NAMED = re.compile(r"""(?m)^\s*-?\s*\{?\s*name:\s*["']?(\w+)""")
_MOUNTS = ("extraVolumeMounts", "volumeMounts")
_LISTS_OF_VARIABLES = ("env", "extraEnv", "secret")


@dataclass(frozen=True)
class Settled:
    """A user's values without what the lab says itself, and what was found by the way.

    `refused` are keys with what is wrong with each, `taken_out` keys by the reason why, `changed`
    those that change what the lab's layers set.
    """

    values: Values
    refused: list[tuple[str, str]]
    taken_out: dict[str, list[str]]
    changed: list[str]


def settle(own: Values, lab: Mapping[str, Any], defaults: Mapping[str, Any]) -> Settled:
    """Return what the chart may be given of a user's values beside the `lab`'s own.

    `defaults` are the chart's: a null where they are empty too, as in a copy of values.yaml, says
    nothing. No value is told, but those that say which Airflow it is.
    """
    claims = _Claims(own, lab, defaults)
    values = claims.kept(own, "")
    refused = [*claims.executor(), *claims.parts(), *claims.airflow(), *claims.refused]
    return Settled(values, refused, claims.taken_out, list(_changes(values, lab)))


def leaf(values: Any, key: str) -> Any:
    """Return the value at a key with dots, None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _of_lab(lab: Mapping[str, Any], path: str) -> Any:
    """Return what a lab's own values have in the place of a user's."""
    return leaf(lab, path.replace("workers.kubernetes.", "workers."))


class _Claims:
    def __init__(self, own: Values, lab: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._own, self._lab, self._defaults = own, lab, defaults
        self.refused: list[tuple[str, str]] = []
        self.taken_out: dict[str, list[str]] = {}

    def _is(self, key: str) -> str:
        return f"is {leaf(self._own, key)!r}"

    def executor(self) -> Iterator[tuple[str, str]]:
        """Yield that another executor than KubernetesExecutor is asked for."""
        if leaf(self._own, "executor") not in (None, self._lab["executor"]):
            yield "executor", f"{self._is('executor')}: a lab on kind is KubernetesExecutor alone"
        key = "config.core.executor"
        if leaf(self._own, key) not in (None, self._lab["executor"], leaf(self._defaults, key)):
            yield key, f"{self._is(key)}: leave it to `executor`"

    def parts(self) -> Iterator[tuple[str, str]]:
        """Yield that there would be another number of schedulers, or not all components."""
        key, asked = "scheduler.replicas", self._lab["scheduler"]["replicas"]
        if leaf(self._own, key) not in (None, asked):
            yield key, f"{self._is(key)}, --schedulers {asked}: give the same to both"
        for part in ("scheduler", "apiServer", "dagProcessor"):
            if leaf(self._own, f"{part}.enabled") is False:
                yield f"{part}.enabled", "is off: a lab needs it"

    def airflow(self) -> Iterator[tuple[str, str]]:
        """Yield that the values name another version or image of Airflow, and how to ask for it."""
        key, asked = "airflowVersion", self._lab["airflowVersion"]
        own = leaf(self._own, key)
        try:
            same = own is None or comparable(str(own)) == asked
        except UserError:
            same = False
        if not same:
            yield key, f"{self._is(key)}, --airflow {asked}: give the same to both"
        repository, tag = self._lab["defaultAirflowRepository"], self._lab["defaultAirflowTag"]
        there = {_REPOSITORY: repository, _TAG: tag, _DIGEST: ""}
        named = [self._first(keys) or there[keys] for keys in (_REPOSITORY, _TAG)]
        advice = f", the lab's is {repository}:{tag}: say --airflow-image {':'.join(named)}"
        for keys, wanted in there.items():
            for key in keys:
                if (leaf(self._own, key) or wanted) != wanted:
                    yield key, self._is(key) + advice
                    advice = ""

    def _first(self, keys: Sequence[str]) -> str:
        return next((str(leaf(self._own, key)) for key in keys if leaf(self._own, key)), "")

    def kept(self, values: Mapping[str, Any], at: str) -> Values:
        """Return the values without the keys that the lab has a substitute for."""
        kept: Values = {}
        for key, value in values.items():
            path = f"{at}{key}"
            if path in _SUBSTITUTED:
                if not self._agrees(path, value):
                    self._take_out(_SUBSTITUTED[path], path)
            elif value is None and _of_lab(self._lab, path) is not None:
                if leaf(self._defaults, path) or not self._defaults:
                    self._take_out("a null would take away what the lab sets there", path)
            elif isinstance(value, dict):
                kept[key] = self.kept(value, f"{path}.")
            elif isinstance(value, list):
                rest = [each for each in value if self._stays(each, str(key), path)]
                if rest or _of_lab(self._lab, path) is None:
                    kept[key] = rest
            else:
                if key == "extraEnv" and isinstance(value, str):
                    self._look_into(value, path)
                kept[key] = value
        return kept

    def _take_out(self, why: str, key: str) -> None:
        self.taken_out.setdefault(why, []).append(key)

    def _agrees(self, path: str, value: Any) -> bool:
        """Tell whether a user's value is what there would be without it."""
        there = leaf(self._lab, path)
        there = leaf(self._defaults, path) if there is None else there
        if path in _KEYS[_IMAGES]:
            return value in (there, "Never")
        if value is None and not leaf(self._defaults, path):
            return True
        return value == there or not (value or there)

    def _stays(self, item: Any, key: str, path: str) -> bool:
        """Tell whether an item of a list is the user's to say."""
        if not isinstance(item, dict):
            return True
        if key in _MOUNTS:
            return not self._at_dags(str(item.get("mountPath", "")), path)
        if key in _LISTS_OF_VARIABLES:
            return not self._is_claimed(str(item.get("name", item.get("envName", ""))), path)
        return True

    def _at_dags(self, place: str, path: str) -> bool:
        """Tell whether a mount is at, over or in the folder of the lab's DAGs."""
        parts, folder = place.strip("/").split("/"), DAGS_FOLDER.strip("/").split("/")
        both = min(len(parts), len(folder))
        if place and (parts[:both] == folder[:both] or parts == [""]):
            self._take_out(_DAGS, f"{path}[{place}]")
            return True
        return False

    def _is_claimed(self, name: str, path: str) -> bool:
        """Tell whether a variable sets what the lab sets; an executor in one is refused."""
        if self._refuses(name, path):
            return True
        if why := _why_claimed(name):
            self._take_out(why, f"{path}[{name}]")
        return bool(why)

    def _look_into(self, template: str, path: str) -> None:
        """Refuse variables of the lab's in a template, of which nothing can be taken out."""
        for name in _NAMED.findall(template):
            if self._refuses(name, path) or _why_claimed(name):
                self.refused.append((f"{path}[{name}]", "is for the lab to set"))

    def _refuses(self, name: str, path: str) -> bool:
        if _option(name) != "config.core.executor":
            return False
        self.refused.append((f"{path}[{name}]", "is set: leave it to `executor`"))
        return True


def _option(variable: str) -> str:
    """Return the key of the values that a variable of Airflow's stands for, empty for others."""
    option = _VARIABLE.fullmatch(variable)
    return "config.{}.{}".format(*option.groups()).lower() if option else ""


def _why_claimed(variable: str) -> str:
    """Return why a variable is the lab's to set, empty where it is not."""
    if variable == "AIRFLOW_HOME":
        return _DAGS
    return _NAMES if _RESERVED.fullmatch(variable) else _SUBSTITUTED.get(_option(variable), "")


def _changes(values: Mapping[str, Any], lab: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Yield the keys whose values differ from the lab's; lists of both are merged by item."""
    for key, value in values.items():
        path = f"{at}{key}"
        there = _of_lab(lab, path)
        if isinstance(value, dict) and (isinstance(there, dict) or path == "workers.kubernetes"):
            yield from _changes(value, lab, f"{path}.")
        elif there is not None and value != there and not isinstance(there, list):
            yield path
