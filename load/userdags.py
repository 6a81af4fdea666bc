"""A user's own DAGs: what Airflow makes of a folder of theirs, before anything is flooded.

folder --> Airflow's DagBag, in the Airflow that is tested --> ids, or the files that do not import

That Airflow is an environment on this machine, or an image, with the packages that it has.
"""

import subprocess
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from common.errors import UserError
from lab.base import Airflow
from lab.environments.asking import ANSWER, ask
from lab.kind import owndags

_LONGEST = 120.0
"""Seconds that the files may take to be imported, all together."""

# The class has moved in 3.2. What the folder holds besides DAGs is on the path, as in a lab.
_SCRIPT = f"""
import inspect, json, sys
folder = sys.argv[1]
sys.path.insert(0, folder)
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
ours = {{"include_examples": False}}
known = inspect.signature(DagBag.__init__).parameters
bag = DagBag(folder, **{{name: value for name, value in ours.items() if name in known}})
errors = {{str(file).removeprefix(folder + "/"): str(trace)
          for file, trace in bag.import_errors.items()}}
print("\\n{ANSWER}" + json.dumps({{"dags": sorted(bag.dags), "errors": errors}}))
"""


def dag_ids(airflow: Airflow, folder: Path) -> list[str]:
    """Return the ids of the DAGs in a folder, as this Airflow imports them.

    Raises UserError with each file that does not import, where there is no DAG, and where the
    files take longer than 120 s.
    """
    found = _imported(airflow, folder)
    if errors := found.errors:
        told = "; ".join(f"{file}: {_last(errors[file])}" for file in sorted(errors))
        files = "1 file of it does" if len(errors) == 1 else f"{len(errors)} files of it do"
        raise UserError(
            f"--dags {folder}: {files} not import in Airflow {airflow.label}: {told}.",
            "Mend them, or name them in .airflowignore.",
        )
    if not found.dags:
        raise UserError(
            f"--dags {folder}: there is no DAG in it.",
            "Airflow reads .py files that say both `dag` and `airflow`, and skips all others.",
        )
    return found.dags


def chosen(ids: Sequence[str], globs: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that any of the globs names, all where there is none; UserError for a miss."""
    wanted = list(globs) or ["*"]
    for glob in wanted:
        if not any(fnmatchcase(each, glob) for each in ids):
            raise UserError(
                f"--flood-dags {glob}: no DAG is called so.", f"There are: {', '.join(ids)}."
            )
    return tuple(each for each in ids if any(fnmatchcase(each, glob) for glob in wanted))


class _Found(msgspec.Struct):
    dags: list[str]
    errors: dict[str, str]


def _imported(airflow: Airflow, folder: Path) -> _Found:
    try:
        if airflow.image:
            told = owndags.ask(airflow.image, _SCRIPT, folder, longest=_LONGEST)
        else:
            told = ask(airflow, _SCRIPT, str(folder), longest=_LONGEST)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"--dags {folder}: it is not imported after {_LONGEST:.0f} s.",
            "Something in its files waits as they are imported.",
        ) from None
    if told.answer is None:
        raise UserError(
            f"--dags {folder}: Airflow {airflow.label} ended as it imported it: "
            f"{_last(told.errors)}."
        )
    return msgspec.json.decode(told.answer, type=_Found)


def _last(trace: str) -> str:
    """Return the last line of a trace, which says what is wrong."""
    return next(
        (line.strip() for line in reversed(trace.splitlines()) if line.strip()), "no reason"
    )
