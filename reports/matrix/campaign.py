"""Puts one question to a set of Airflows, one session each, and can be interrupted at any time.

The matrix has a folder of its own. `plan.json` says what is asked, so that what is added later is
comparable; each Airflow has a folder in it, with the run folders of its sessions. An Airflow that
is decided there is not asked again.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import msgspec

from common.errors import UserError
from reports.matrix.table import table
from reports.sessions import Answer, Plan, folder_name
from reports.store import Shelf, read_shelf
from run.folder import write_json

log = logging.getLogger(__name__)

PLAN_FILE = "plan.json"

Ask = Callable[[Plan, str, Path], Answer]


def planned(folder: Path, asked: Plan, *, seed_given: bool) -> Plan:
    """Return the question of the matrix in a folder, and write it down if it is a new one.

    Raises UserError if the folder's matrix asks another one.
    """
    path = folder / PLAN_FILE
    if path.exists():
        try:
            there = msgspec.json.decode(path.read_bytes(), type=Plan)
        except msgspec.MsgspecError as error:
            raise UserError(
                f"{path} is no plan of a matrix: {error}", "Give --into FOLDER."
            ) from None
        there = replace(there, workers=asked.workers)
        meant = asked if seed_given else replace(asked, seed=there.seed)
        if meant != there:
            raise UserError(
                f"{folder} holds a matrix that asks otherwise: {_difference(there, meant)}.",
                "Give another folder (--into FOLDER), or ask the same.",
            )
        return there
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(asked))
    return asked


def _difference(there: Plan, asked: Plan) -> str:
    before, now = asdict(there), asdict(asked)
    return ", ".join(
        f"{name} {before[name]}, not {now[name]}" for name in before if before[name] != now[name]
    )


def places(folder: Path, plan: Plan, wanted: Iterable[str]) -> dict[str, Path]:
    """Return each Airflow's folder in the matrix's, by its spec.

    What cannot be installed is told, and left out.
    """
    found = {}
    for spec in wanted:
        try:
            found[spec] = folder / folder_name(plan, spec)
        except UserError as error:
            log.info("%s is left out: %s", spec, error)
    return found


def run(plan: Plan, wanted: Mapping[str, Path], ask: Ask, *, again: bool) -> None:
    """Ask every Airflow that is not decided yet; one that cannot be asked stops no other."""
    for spec, place in wanted.items():
        if not again and decided(place):
            log.info("%s: decided already, in %s", spec, place)
            continue
        log.info("%s: asking", spec)
        try:
            answer = ask(plan, spec, place)
        except UserError as error:
            log.info("%s: %s", spec, error)
            continue
        log.info("%s: %s (%.0f s)", spec, summary(answer.shelf), answer.seconds)


def decided(place: Path) -> bool:
    """Tell whether an Airflow's last session ran to its end, and no question is unconfirmed."""
    try:
        shelf = read_shelf([place])
    except UserError:
        return False
    last = shelf.runs[-1]
    cells = table(shelf).cells.values()
    whole = last.session is not None and last.session.ended is not None and not last.missing
    return whole and bool(cells) and all(cell.status != "unconfirmed" for cell in cells)


def summary(shelf: Shelf) -> str:
    """Say in a line what a session found."""
    cells = table(shelf).cells
    said = [f"{plan.name} {cell.text(bounds=False)}" for (_, plan), cell in cells.items()]
    return "; ".join(said) or "no test ended"
