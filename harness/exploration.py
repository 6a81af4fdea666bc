"""An exploration in a test session: what it found is known, or new; what it did not, is bounded."""

from collections.abc import Callable, Sequence

import pytest

from common.waiting import Deadline
from explore.explorer import Drawn, Explorer, Find
from explore.memory import folder_of, remember, resumed
from explore.plan import defers
from explore.points import Requested
from explore.replay import replay
from explore.results import alone, writable
from explore.schedule import Schedule
from harness.markers import scenarios
from harness.outcome import Unknown
from lab.base import Lab
from oracle.invariants import INVARIANTS
from reports.statistics import Rate
from scenarios.scenario import Scenario

REPLAYS = 5
"""Rounds in which a find must show itself once more."""

POWERS = frozenset({"hold", "pause"})
"""What a race needs that any exploration can show: orders of statements, and nothing else."""

LEAST_KNOWN = 0.5
"""The share of rounds that must have been judged."""

LEAST_ROUNDS = 4
"""Rounds from which on that share says anything; of fewer, the time was too short."""


class Exploration:
    """Explores a lab for some seconds, and ends the test as what was found asks."""

    def __init__(
        self, lab: Lab, world: str, seed: int, seconds: float, say: Callable[[str], None]
    ) -> None:
        self._lab = lab
        self._world = world
        self._seed = seed
        self._say = say
        self._seconds = seconds

    def explore(self) -> None:
        """Explore; pytest's failure for a race that no scenario knows, Unknown for too little."""
        folder = writable(folder_of(self._lab.airflow, self._world))
        source = Drawn(self._seed, world=self._world)
        with alone(folder):
            self._explore(resumed(self._lab, folder, source, self._say))

    def _explore(self, explorer: Explorer) -> None:
        rounds, unknown = explorer.totals.rounds, explorer.totals.unknown
        over = Deadline(self._seconds)
        try:
            explorer.explore(lambda: over.passed)
        finally:
            remember(explorer)
        self._judge(explorer.finds)
        rounds, unknown = explorer.totals.rounds - rounds, explorer.totals.unknown - unknown
        require_enough(rounds, unknown)
        if not explorer.finds:
            self._say(f"Races found in {Rate(0, rounds - unknown).text()} rounds")

    def _judge(self, finds: Sequence[Find]) -> None:
        found = [(find, self._known(find)) for find in finds]
        for name in sorted({known.name for _, known in found if known}):
            times = sum(known is not None and known.name == name for _, known in found)
            self._say(f"Known: {name}, in {times} rounds")
        for find in (find for find, known in found if known is None):
            self._require_again(find)

    def _known(self, find: Find) -> Scenario | None:
        """Return the scenario whose race a find shows, if there is one.

        It is one that this release has, that what was done in the round can show, and that breaks
        the first promise which the find broke: the others may be what came of it.
        """
        cause = next(each.name for each in INVARIANTS if each.name in find.broken)
        for each in scenarios().values():
            able = powers(find.schedule).issuperset(each.powers)
            able = able and (not each.triggerers or defers(find.schedule.settings))
            if able and cause in each.breaks and each.affects(self._lab.airflow.version):
                return each
        return None

    def _require_again(self, find: Find) -> None:
        """Fail for a find that replays."""
        shown = replay(self._lab, find.schedule, REPLAYS, find.folder / "replays", needed=1)
        if not shown.rate.hits:
            self._say(f"{find.folder} was not seen again ({shown.text}); it is not counted.")
            return
        pytest.fail(
            f"No scenario knows this race; {shown.text}:\n{find.schedule.witness}"
            f"python -m explore shrink {find.folder / 'schedule.yaml'}",
            pytrace=False,
        )


def powers(schedule: Schedule) -> frozenset[str]:
    """Return the powers that a round had: races that need others cannot be what it shows."""
    moves = {deed.do for deed in schedule.moves}
    by_requests = "silence" in moves or any(isinstance(p, Requested) for p in schedule.watched)
    return POWERS | ({"kill"} & moves) | ({"kube-api"} if by_requests else frozenset())


def require_enough(rounds: int, unknown: int) -> None:
    """Raise Unknown where so many rounds, of which some are unknown, say nothing."""
    if rounds and unknown <= (1 - LEAST_KNOWN) * rounds:
        return
    told = f"{unknown} of {rounds} explored rounds are unknown"
    if rounds < LEAST_ROUNDS:
        raise Unknown(f"Explored too short: {told}; give --explore more.")
    raise Unknown(f"{told}.")
