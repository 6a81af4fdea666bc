"""The values of the official chart, from the layers in charts-values/; `python -m lab values`.

A layer is a values file for one concern. The rule by which they merge, later ones over earlier:
mappings merge key by key; lists whose items have a `mountPath` or a `name` merge item by item (so
that environment variables and volumes of several layers add up, and a later one of the same name
wins); anything else, lists of words too, is replaced. `extraEnv`, which the chart wants as text, is
merged as the list that it holds. A null stays: to Helm it means the chart's default taken away.
"""

import argparse
import copy
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from docker.utils import parse_repository_tag
from packaging.version import InvalidVersion, Version

from common.documents import yaml_problem
from common.errors import UserError
from common.paths import PROJECT
from lab.environments.pins import newest

LAYERS = PROJECT / "charts-values"
DEFAULT_LAYERS = ("base", "schedulers", "database", "dags", "ledger", "identity", "liveness")
OLDEST = Version("3.0")
DAGS_FOLDER = "/opt/airflow/dags"
DAGS_VOLUME = "ha-chaos-dags"
_IMAGE = "apache/airflow"
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

_ABOUT = """\
Print the Helm values of a lab, merged from the layers in charts-values/: one file a concern, each
with the reason for what it sets. Layers given are added to the default ones; a variant
(liveness-defaults) takes the place of what it varies.

  python -m lab values --airflow 3.0.6 > values.yaml
  helm install airflow apache-airflow/airflow --version 1.18.0 -f values.yaml

A release installed with them needs what a lab makes first: the Secrets ha-chaos-metadata (key
connection) and ha-chaos-ledger (key dsn), and the ConfigMap ha-chaos-dags (the files of dags/).
HA_CHAOS_SHAPES, _SLEEP, _SEED and the like of the environment are
passed on to the DAGs.
"""

Values = dict[str, Any]


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


def merged(
    version: str,
    *,
    schedulers: int,
    image: str,
    layers: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    dag_files: Sequence[str] = (),
    extra: Sequence[Path] = (),
) -> Values:
    """Return the values of one release; `extra` are the user's own files, merged last.

    `env` reaches every component and worker, so it must hold no secret; `dag_files` are the keys of
    the ConfigMap `ha-chaos-dags`. Raises UserError for what cannot be.
    """
    if schedulers < 1:
        raise UserError(f"{schedulers} schedulers: a lab needs one at least.")
    parts = [
        *(read(LAYERS / f"{name}.yaml") for name in layers_for(version, layers)),
        _airflow(version, image),
        _mounts(dag_files),
        {"scheduler": {"replicas": schedulers}},
        {"env": [{"name": name, "value": value} for name, value in (env or {}).items()]},
        *(read(path) for path in extra),
    ]
    values = reduce(merge, parts, Values())
    values["airflowVersion"] = comparable(str(values["airflowVersion"]))
    if values.get("extraEnv"):
        values["extraEnv"] = yaml.safe_dump(values["extraEnv"], sort_keys=False)
    return values


def merge(under: Values, over: Mapping[str, Any]) -> Values:
    """Return `over` on top of `under`, by the rule of this module; neither is changed."""
    result = copy.deepcopy(under)
    for key, value in over.items():
        result[key] = _merge_value(result.get(key), copy.deepcopy(value))
    return result


def read(path: Path) -> Values:
    """Return a values file, with `extraEnv` as a list; UserError when it is none."""
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"The values file {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"The values file {path} is not YAML: {yaml_problem(error)}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"The values file {path} is not a mapping.", "See `helm show values`.")
    if isinstance(values.get("extraEnv"), str):
        values["extraEnv"] = _variables(values["extraEnv"], path)
    return values


def _variables(text: str, path: Path) -> list[Any]:
    """Return the environment variables that `extraEnv` holds as text."""
    try:
        variables = yaml.safe_load(text) or []
    except yaml.YAMLError:
        variables = None
    if not isinstance(variables, list):
        raise UserError(
            f"extraEnv in {path} is not a YAML list of variables.",
            "Quote what is a template: value: '{{ .Release.Name }}'.",
        )
    return variables


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


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to `python -m lab`."""
    parser = subparsers.add_parser(
        "values",
        help="print the merged Helm values of a lab",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(work=run)
    parser.add_argument(
        "--airflow", default=newest(), metavar="V", help="a version (default: %(default)s)"
    )
    parser.add_argument(
        "--schedulers", type=int, default=2, metavar="N", help="replicas (default: %(default)s)"
    )
    others = ", ".join(name for name in known_layers() if name not in DEFAULT_LAYERS)
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="L",
        help=f"add a layer, repeatable: {others} (default: {', '.join(DEFAULT_LAYERS)})",
    )
    parser.add_argument(
        "--airflow-image", metavar="I", help=f"NAME:TAG (default: {_IMAGE}:VERSION)"
    )
    parser.add_argument(
        "--values",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="values of your own, merged last, repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Print the values; UserError for what cannot be."""
    values = merged(
        options.airflow,
        schedulers=options.schedulers,
        image=options.airflow_image or f"{_IMAGE}:{options.airflow}",
        layers=options.layer,
        env=dag_variables(os.environ),
        dag_files=dag_files(),
        extra=options.values,
    )
    print(yaml.safe_dump(values, sort_keys=False, width=100), end="")
    return 0


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
