"""What a bisect keeps, so that it goes on where it was stopped, by Ctrl-C or SIGKILL.

    reports/bisects/<name>.json      what is asked, the releases, and the steps that are decided
    reports/bisects/<name>/<key>/    the run folders of an Airflow, by the key of its installed code

The file is written whole after every step. A step under way is not in it: its runs are, in their
folder, and count when it is taken up again.
"""

from dataclasses import replace
from pathlib import Path

import msgspec

from common.errors import UserError
from common.paths import PROJECT
from reports.bisect.step import Patience, Step
from reports.records import TestRecord
from reports.sessions import Plan
from reports.store import read_shelf
from run.folder import write_json

SCHEMA = 2
"""Of 1, the environments were links: what was typed into another one was in the release, too."""

BISECTS = PROJECT / "reports" / "bisects"


class State(msgspec.Struct, kw_only=True):
    """A bisect's file.

    `releases` are those that a search chooses from, by how they were chosen, so that the index is
    asked once. `steps` are by Airflow, or by key where code can change under a name.
    """

    schema: int
    plan: Plan
    patience: Patience
    ends: list[str]
    releases: dict[str, list[str]] = {}
    steps: dict[str, Step] = {}


def open_state(path: Path, asked: State, *, seed_given: bool) -> State:
    """Return the state of a bisect that was begun, or `asked` where there is none.

    Raises UserError if the file is none, or asks something else.
    """
    if not path.exists():
        return asked
    try:
        there = msgspec.json.decode(path.read_bytes(), type=State)
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is no bisect: {error}", "Give another --name.") from None
    seed = asked.plan.seed if seed_given else there.plan.seed
    meant = msgspec.structs.replace(asked, plan=replace(asked.plan, seed=seed))
    if _asks(there) != _asks(meant):
        raise UserError(
            f"{path} is of a bisect that asks otherwise.",
            "Give another --name, or the same options as then.",
        )
    return there


def _asks(state: State) -> tuple[int, Plan, Patience, list[str]]:
    return state.schema, state.plan, state.patience, state.ends


def save(path: Path, state: State) -> None:
    """Write the state, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, msgspec.to_builtins(state))


def left_over(place: Path) -> list[TestRecord]:
    """Return the runs of a step that are there already; none where nothing is."""
    try:
        return list(read_shelf([place]).tests)
    except UserError:
        return []
