"""What an exploration remembers from session to session, so that hours add up."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from common.errors import UserError
from common.files import write_whole
from common.paths import cache_dir
from explore.coverage import Coverage
from explore.explorer import Drawn, Explorer, Totals
from explore.plan import WORLDS
from explore.schedule import SCHEMA
from lab.base import Airflow, Lab

_FILE = "exploration.json"


class Memory(msgspec.Struct, forbid_unknown_fields=True):
    """What is kept of an exploration of one Airflow with some settings.

    `finds` are the promises that were broken and how often, by the folders' numbers; `growth` has
    (rounds, pairs) after each session.
    """

    schema: int = SCHEMA
    rounds: int = 0
    steps: int = 0
    unknown: int = 0
    seconds: float = 0.0
    exploring: float = 0.0
    cpu: float = 0.0
    reasons: dict[str, int] = {}
    pairs: list[tuple[str, str, str, int]] = []
    orders: list[str] = []
    finds: dict[str, list[str]] = {}
    growth: list[tuple[int, int]] = []

    def coverage(self) -> Coverage:
        """Return what was covered."""
        return Coverage((((a, b, roles), n) for a, b, roles, n in self.pairs), self.orders)

    def totals(self) -> Totals:
        """Return what was done."""
        return Totals(
            self.rounds, self.steps, self.unknown, len(self.finds), self.seconds, self.exploring,
            self.cpu, Counter(self.reasons),
        )  # fmt: skip


def folder_of(airflow: Airflow, world: str) -> Path:
    """Return where the exploration of an Airflow's build, with a world's settings, is kept."""
    return cache_dir() / "explorations" / f"{airflow.version}-{airflow.build or 'build'}" / world


def recall(folder: Path) -> Memory:
    """Return what a folder remembers; nothing, where nothing was explored yet."""
    path = folder / _FILE
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        return Memory()
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Remove it to begin anew.") from error
    if memory.schema != SCHEMA:
        raise UserError(f"{path} is of another version.", "Remove it to begin anew.")
    return memory


def resumed(
    lab: Lab, folder: Path, source: Drawn, world: str, tell: Callable[[str], None]
) -> Explorer:
    """Return a lab's explorer, with a world's settings, that goes on where the last one ended."""
    memory = recall(folder)
    return Explorer(
        lab, folder, source.seed, source,
        settings=dict(WORLDS[world]), begin=memory.rounds, coverage=memory.coverage(),
        totals=memory.totals(), tell=tell, after=remember,
    )  # fmt: skip


def remember(explorer: Explorer) -> None:
    """Write down what an explorer did so far, beside what it found."""
    former, totals = recall(explorer.folder), explorer.totals
    pairs = [(*pair, n) for pair, n in explorer.coverage.pairs.items()]
    finds = {str(find.schedule.round): sorted(find.broken) for find in explorer.finds}
    memory = Memory(
        rounds=totals.rounds,
        steps=totals.steps,
        unknown=totals.unknown,
        seconds=totals.seconds,
        exploring=totals.exploring,
        cpu=totals.cpu,
        reasons=dict(totals.reasons),
        pairs=pairs,
        orders=sorted(explorer.coverage.orders),
        finds=former.finds | finds,
        growth=[*former.growth, (totals.rounds, len(pairs))][-1000:],
    )
    write_whole(explorer.folder / _FILE, msgspec.json.encode(memory))
