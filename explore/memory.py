"""What an exploration remembers from session to session, so that hours add up."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from common.errors import UserError
from common.files import write_whole
from common.paths import cache_dir
from explore.coverage import Coverage
from explore.explorer import Drawn, Explorer, Totals
from explore.plan import WORLDS
from explore.salvage import salvage
from explore.schedule import read_any
from lab.base import Airflow, Lab

FORMAT = 2
"""The version of the file. In the first one, the totals stood beside the rest."""

_FILE = "exploration.json"


class Memory(msgspec.Struct, forbid_unknown_fields=True):
    """What is kept of an exploration of one Airflow with some settings.

    `finds` are the promises that were broken, by the folders' names; `told` are those folders of
    which a session has told at its end (None in older files: all). `growth` has (rounds, pairs)
    after each batch; `of` says which Airflow with which settings (`_about`).
    """

    schema: int = FORMAT
    totals: Totals = msgspec.field(default_factory=Totals)
    pairs: list[tuple[str, str, str, int]] = []
    orders: list[str] = []
    finds: dict[str, list[str]] = {}
    told: list[str] | None = None
    of: list[str] = []
    growth: list[tuple[int, int]] = []

    def coverage(self) -> Coverage:
        """Return what was covered."""
        return Coverage((((a, b, roles), n) for a, b, roles, n in self.pairs), self.orders)

    def was_told(self) -> set[str]:
        """Return the folders of the finds that were told."""
        return set(self.finds if self.told is None else self.told)


def folder_of(airflow: Airflow, world: str) -> Path:
    """Return where the exploration of an Airflow's build, with a world's settings, is kept."""
    return cache_dir() / "explorations" / f"{airflow.version}-{airflow.build or 'build'}" / world


def recall(folder: Path) -> Memory:
    """Return what a folder remembers; nothing, where nothing was explored yet."""
    path = folder / _FILE
    try:
        data = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        memory = msgspec.convert(_nested(data) if data.get("schema") == 1 else data, Memory)
    except FileNotFoundError:
        return Memory()
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Remove it to begin anew.") from error
    if memory.schema != FORMAT:
        raise UserError(f"{path} is of another version.", "Remove it to begin anew.")
    return memory


def _nested(data: dict[str, Any]) -> dict[str, Any]:
    """Return what a file of the first version says, as one of this version."""
    names = {each.name for each in fields(Totals)} - {"finds"}
    totals = {name: data.pop(name) for name in names & data.keys()}
    return {**data, "schema": FORMAT, "totals": totals | {"finds": len(data.get("finds", ()))}}


def resumed(lab: Lab, folder: Path, source: Drawn, tell: Callable[[str], None]) -> Explorer:
    """Return a lab's explorer that goes on where the last one ended.

    What that one found and had no time to keep, or to tell, as it was killed, is found here.
    """
    memory, settings = recall(folder), dict(WORLDS[source.world])
    if memory.of and memory.of != _about(lab.airflow, settings):
        raise UserError(
            f"{folder} is of an exploration of {' '.join(memory.of)}.",
            "Give another --folder, or the same release and world.",
        )
    explorer = Explorer(
        lab, folder, source.seed, source,
        settings=settings, begin=memory.totals.rounds, coverage=memory.coverage(),
        totals=memory.totals, tell=tell, after=remember,
    )  # fmt: skip
    salvage(folder, explorer.found)
    _take_up(explorer, memory)
    return explorer


def _take_up(explorer: Explorer, memory: Memory) -> None:
    """Have an explorer find what is kept, and was told by nobody."""
    known = memory.was_told() | {find.folder.name for find in explorer.finds}
    for file in sorted((explorer.folder / "finds").glob("*/schedule.yaml")):
        name = file.parent.name
        if name in known:
            continue
        with suppress(UserError):
            explorer.find_again(file.parent, read_any(file), counted=name in memory.finds)


def _about(airflow: Airflow, settings: Mapping[str, str]) -> list[str]:
    words = [f"{name}={value}" for name, value in sorted(settings.items())]
    return [airflow.version, *([airflow.build] if airflow.build else []), *words]


def remember(explorer: Explorer) -> None:
    """Write down what an explorer did so far, beside what it found."""
    former, totals = recall(explorer.folder), explorer.totals
    pairs = [(*pair, n) for pair, n in explorer.coverage.pairs.items()]
    finds = {find.folder.name: sorted(find.broken) for find in explorer.finds}
    memory = Memory(
        totals=totals,
        pairs=pairs,
        orders=sorted(explorer.coverage.orders),
        finds=former.finds | finds,
        told=sorted(former.was_told()),
        of=_about(explorer.lab.airflow, explorer.settings),
        growth=[*former.growth, (totals.rounds, len(pairs))][-1000:],
    )
    write_whole(explorer.folder / _FILE, msgspec.json.encode(memory))


def remember_told(explorer: Explorer) -> None:
    """Write down that what an explorer found, as it is remembered, was told."""
    memory = recall(explorer.folder)
    memory.told = sorted(memory.was_told() | {find.folder.name for find in explorer.finds})
    write_whole(explorer.folder / _FILE, msgspec.json.encode(memory))
