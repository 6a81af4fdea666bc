"""The values of the official chart, from the layers in charts-values/.

A layer is a values file for one concern. The rule by which they merge, later ones over earlier:
mappings merge key by key; lists whose items have a `mountPath` or a `name` merge item by item (so
that environment variables and volumes of several layers add up, and a later one of the same name
wins); anything else, lists of words too, is replaced. `extraEnv`, which the chart wants as text, is
merged as the list that it holds. A null stays: to Helm it means the chart's default taken away.
"""

import copy
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import yaml
from docker.utils import parse_repository_tag
from packaging.version import InvalidVersion, Version

from common.errors import UserError
from common.paths import PROJECT
from lab.kind.helm.files import Values, read_file

LAYERS = PROJECT / "charts-values"
DEFAULT_LAYERS = ("base", "schedulers", "database", "dags", "ledger", "identity", "liveness")
OLDEST = Version("3.0")
DAGS_FOLDER = "/opt/airflow/dags"
DAGS_VOLUME = "ha-chaos-dags"
OWN_DAGS = "dags-own"
"""The layer that has pods unpack a user's own DAGs, in the place of `dags`, which mounts ours."""

_VARIABLES = (
    "SHAPES",
    "SLEEP",
    "SEED",
    "RETRIES",
    "RETRY_DELAY",
    "POKE_INTERVAL",
    "MAX_ACTIVE_TASKS",
)

_LINE = re.compile(r"airflow-\d+\.\d+")
_CONFIGMAP_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def known_layers() -> list[str]:
    """Return the names of all layers, but those of version lines, which choose themselves."""
    names = sorted(path.stem for path in LAYERS.glob("*.yaml"))
    return [name for name in names if not _LINE.fullmatch(name)]


def layers_for(version: str, layers: Iterable[str] = ()) -> list[str]:
    """Return the layers of an Airflow version, in the order of their merge.

    That is the default ones, then that of the version's line if it needs one, then `layers`. A
    variant takes the place of what it varies: `liveness-defaults` that of `liveness`. Raises
    UserError for an unknown layer.
    """
    chosen = [*DEFAULT_LAYERS, *_line(version)]
    for name in layers:
        if name not in known_layers():
            known = ", ".join(known_layers())
            raise UserError(f"There is no values layer {name!r}.", f"There are: {known}.")
        varied = name.rpartition("-")[0]
        if varied in chosen:
            chosen[chosen.index(varied)] = name
        elif name not in chosen:
            chosen.append(name)
    return chosen


def lab_values(
    version: str,
    *,
    schedulers: int,
    image: str,
    triggerers: int = 0,
    layers: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    dag_files: Sequence[str] = (),
) -> Values:
    """Return a lab's own values, without its user's.

    `env` reaches every component and worker, so it must hold no secret; `dag_files` are the keys of
    the ConfigMap `ha-chaos-dags`, where it has ours. With `triggerers`, their layer is one more.
    Raises UserError for what cannot be.
    """
    if schedulers < 1:
        raise UserError(f"{schedulers} schedulers: a lab needs one at least.")
    if triggerers:
        layers = (*layers, "triggerer")
    parts = [
        *(read_file(LAYERS / f"{name}.yaml").values for name in layers_for(version, layers)),
        _airflow(version, image),
        {} if OWN_DAGS in layers else _mounts(dag_files),
        {"scheduler": {"replicas": schedulers}},
        {"triggerer": {"replicas": triggerers}} if triggerers else {},
        {"env": [{"name": name, "value": value} for name, value in (env or {}).items()]},
    ]
    return reduce(merge, parts, Values())


def merged(lab: Values, own: Iterable[Mapping[str, Any]] = ()) -> Values:
    """Return the values of one release: a lab's, with its user's `own` on top, in order."""
    values = reduce(merge, own, copy.deepcopy(lab))
    workers = values.get("workers")
    if isinstance(workers, dict) and isinstance(pods := workers.get("kubernetes"), dict):
        # To the chart, a list in here takes the place of the one above it; the lab's must stay.
        above = {
            key: lab["workers"].get(key) for key, each in pods.items() if isinstance(each, list)
        }
        workers["kubernetes"] = merge({key: each for key, each in above.items() if each}, pods)
    extra = values.get("extraEnv")
    if extra is not None and not isinstance(extra, str):
        values["extraEnv"] = _as_text(extra)
    elif extra and isinstance(lab.get("extraEnv"), list):
        values["extraEnv"] = _as_text(lab["extraEnv"]) + textwrap.dedent(extra)
    values["airflowVersion"] = comparable(str(values["airflowVersion"]))
    return values


def _as_text(variables: Any) -> str:
    return yaml.safe_dump(variables, sort_keys=False) if variables else ""


def merge(under: Values, over: Mapping[str, Any]) -> Values:
    """Return `over` on top of `under`, by the rule of this module; neither is changed."""
    result = copy.deepcopy(under)
    for key, value in over.items():
        result[key] = _merge_value(result.get(key), copy.deepcopy(value))
    return result


def _merge_value(under: Any, over: Any) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return merge(under, over)
    if isinstance(under, list) and isinstance(over, list) and over:
        items = {_key(item): item for item in [*under, *over]}
        if None not in items:
            return list(items.values())
    return over


def _key(item: Any) -> str | None:
    """Return what tells a list's item from the others, None where nothing does."""
    if not isinstance(item, dict):
        return None
    found = item.get("mountPath", item.get("name"))
    return found if isinstance(found, str) else None


def _line(version: str) -> list[str]:
    """Return the layer of the version's line (3.1, say), if that line needs one."""
    name = "airflow-{}.{}".format(*_version(version).release[:2])
    return [name] if (LAYERS / f"{name}.yaml").exists() else []


def _version(version: str) -> Version:
    try:
        parsed = Version(version)
    except InvalidVersion:
        raise UserError(f"{version!r} is not a version of Airflow.", "Write it as 3.0.6.") from None
    if parsed < OLDEST:
        raise UserError(f"Airflow {version} is older than 3.0, which the labs begin with.")
    return Version(f"{parsed.base_version}.0") if len(parsed.release) < 2 else parsed


def comparable(version: str) -> str:
    """Return an Airflow's version as the chart can compare it: that of the final release.

    To the chart it is a semantic version, of which 3.4.0b2 is none; and 3.4.0-rc1 is below 3.0.0,
    as all pre-releases are, so that neither an API server nor a DAG processor is rendered for it.
    """
    release = (*_version(version).release, 0)[:3]
    return ".".join(map(str, release))


def _airflow(version: str, image: str) -> Values:
    """Return the values that name the Airflow."""
    repository, tag = parse_repository_tag(image)
    if "@" in image:
        raise UserError(
            f"--airflow-image {image}: the chart cannot name its workers' image by digest.",
            "Give the image a tag.",
        )
    if not repository or tag == "":
        raise UserError(f"--airflow-image {image!r} is not an image.", "Write NAME:TAG.")
    return {
        "airflowVersion": comparable(version),
        "defaultAirflowRepository": repository,
        "defaultAirflowTag": tag or "latest",
        "images": {name: {"pullPolicy": "IfNotPresent"} for name in ("airflow", "pod_template")},
    }


def _mounts(files: Sequence[str]) -> Values:
    """Return the mounts of the DAG files, each by subPath, where DAGs are parsed."""
    wrong = [name for name in files if not _CONFIGMAP_KEY.fullmatch(name)]
    if wrong:
        raise UserError(
            f"A DAG file called {wrong[0]!r} cannot be a ConfigMap's key.", "Rename it."
        )
    mounts = [
        {
            "name": DAGS_VOLUME,
            "mountPath": f"{DAGS_FOLDER}/{name}",
            "subPath": name,
            "readOnly": True,
        }
        for name in files
    ]
    if not mounts:
        return {}
    return {part: {"extraVolumeMounts": mounts} for part in ("dagProcessor", "workers")}


def dag_files() -> list[str]:
    """Return the files of dags/ that a lab mounts: modules, and the list of what is not a DAG."""
    return sorted(
        path.name
        for path in (PROJECT / "dags").iterdir()
        if path.suffix == ".py" or path.name == ".airflowignore"
    )


def dag_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the HA_CHAOS_ variables that the DAGs read, and no other: some hold secrets."""
    names = [f"HA_CHAOS_{name}" for name in _VARIABLES]
    return {name: environ[name] for name in names if environ.get(name)}
