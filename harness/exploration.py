"""An exploration in a test session: what it found is known, or new; what it did not, is bounded.


explore for its share of the time --> finds: known races, new ones (replayed) --> verdict.json,
witness.txt, and the history of what is new --> red for a new race, green for known ones
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from common.redaction import redact
from common.waiting import Deadline
from explore.explorer import Drawn, Explorer, LabLost
from explore.finds import Find
from explore.memory import folder_of, recall, remember, remember_told, resumed
from explore.plan import defers
from explore.points import Requested
from explore.replay import replay
from explore.results import alone, writable
from explore.schedule import Schedule
from harness.markers import scenarios
from harness.outcome import KnownRace, Unknown, about
from lab.base import Lab
from oracle.invariants import cause_of
from oracle.invariants.legal_transition import LegalTransition, transition_of
from reports.metrics import HISTORY
from reports.records import SCHEMA, Explored, ExploredFind, Known, TestRecord, Verdict
from reports.statistics import Rate
from reports.store import VERDICT
from run.folder import write_json
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
    """Explores a lab for some seconds, and ends the test as what was found asks.

    `test` is its id; its verdict, and the witness of what it found, are left in `folder`.
    """

    def __init__(
        self,
        lab: Lab,
        world: str,
        seed: int,
        seconds: float,
        say: Callable[[str], None],
        *,
        test: str,
        folder: Path,
    ) -> None:
        self._lab = lab
        self._world = world
        self._seed = seed
        self._say = say
        self._seconds = seconds
        self._test = test
        self._folder = folder

    def explore(self) -> None:
        """Explore; pytest's failure for a race that no scenario knows, Unknown for too little."""
        folder = writable(folder_of(self._lab.airflow, self._world))
        source = Drawn(self._seed, world=self._world)
        with alone(folder):
            self._explore(resumed(self._lab, folder, source, self._say))

    def _explore(self, explorer: Explorer) -> None:
        before = (explorer.totals.rounds, explorer.totals.unknown)
        explorer.warm()
        cut = self._until_over(explorer)
        races = [self._known(find) for find in explorer.finds]
        found = [_told(find, race) for find, race in zip(explorer.finds, races, strict=True)]
        new, left = "", str(cut or "")
        for place, find in enumerate(explorer.finds):
            if races[place] is not None or new:
                continue
            if cut is None:
                try:
                    new = self._shown_again(find)
                except (LabLost, KeyboardInterrupt) as error:
                    cut = error
            if cut is not None:
                left = f"{left or str(cut) or 'It was stopped.'} Next: python -m explore replay "
                left += f"{find.folder}/schedule.yaml"
            found[place] = replace(found[place], again=bool(new))
        try:
            self._conclude(explorer, _explored(explorer, self._world, before, found), new, left)
        finally:
            if isinstance(cut, KeyboardInterrupt):
                raise cut

    def _until_over(self, explorer: Explorer) -> LabLost | KeyboardInterrupt | None:
        """Explore until the time is over; return what cut it short, for what was found counts."""
        over = Deadline(self._seconds)
        try:
            explorer.explore(lambda: over.passed)
        except (LabLost, KeyboardInterrupt) as error:
            return error
        finally:
            remember(explorer)
        return None

    def _known(self, find: Find) -> Scenario | None:
        """Return the scenario whose race a find shows, if there is one.

        It is one that this release has, and whose mark the find bears.
        """
        there = scenarios().values()
        affecting = (each for each in there if each.affects(self._lab.airflow.version))
        return next((each for each in affecting if shows(find.schedule, each)), None)

    def _shown_again(self, find: Find) -> str:
        """Replay a find; return what to fail with, or nothing where it did not show itself."""
        shown = replay(self._lab, find.schedule, REPLAYS, find.folder / "replays", needed=1)
        if all(self._known(each) for each in shown.finds):
            self._say(f"{find.folder} was not seen again ({shown.text}); it is not counted.")
            return ""
        return (
            f"No scenario knows this race; {shown.text}:\n{find.schedule.witness}"
            f"python -m explore shrink {find.folder / 'schedule.yaml'}"
        )

    def _conclude(self, explorer: Explorer, explored: Explored, new: str, left: str) -> None:
        """Write down what came of it, say it, and end the test by it.

        `left` says why there is more to know: the lab died, or a find was not replayed.
        """
        too_little = left or too_few(explored.rounds, explored.unknown)
        record = record_of(self._lab, self._test, explorer.seed, explored, too_little)
        self._keep(explorer.finds, explored.finds)
        write_json(self._folder / VERDICT, record)
        remember_told(explorer)
        for race in sorted({find.race for find in explored.finds if find.race}):
            self._say(f"Known: {race}, in {len(explored.shows(race))} rounds")
        if new:
            pytest.fail(new, pytrace=False)
        if too_little:
            raise Unknown(too_little)
        if not explored.finds:
            self._say(f"Races found in {Rate(0, explored.judged).text()} rounds")

    def _keep(self, finds: Sequence[Find], told: Sequence[ExploredFind]) -> None:
        """Keep the witness and the history of a find, of a new one if there is any."""
        of_note = sorted(
            zip(finds, told, strict=True), key=lambda each: bool(each[1].race or not each[1].again)
        )
        text = of_note[0][0].schedule.witness if of_note else ""
        (self._folder / "witness.txt").write_text(redact(text) or "No promise was broken.\n")
        if of_note and (history := of_note[0][0].folder / HISTORY).exists():
            shutil.copyfile(history, self._folder / HISTORY)


def _explored(
    explorer: Explorer, world: str, before: tuple[int, int], finds: Sequence[ExploredFind]
) -> Explored:
    """Return what this session explored; `before` counts the rounds, and the unknown, until it."""
    totals, coverage = explorer.totals, explorer.coverage
    return Explored(
        world=world,
        rounds=totals.rounds - before[0],
        unknown=totals.unknown - before[1],
        finds=list(finds),
        total=totals.rounds,
        seconds=round(totals.seconds, 1),
        pairs=len(coverage.pairs),
        orders=len(coverage.orders),
        growth=recall(explorer.folder).growth,
    )


def shows(schedule: Schedule, scenario: Scenario) -> bool:
    """Return whether what a find broke is what a scenario's race breaks.

    It is the first promise that was broken, by the same transition where it is that of transitions:
    the others may be what came of it. What was done in the round must be able to show the race.
    """
    able = powers(schedule).issuperset(scenario.powers)
    able = able and (not scenario.triggerers or defers(schedule.settings))
    able = able and _has_persons(schedule, scenario)
    cause = cause_of(schedule.broken)
    said = [line for line in schedule.witness.splitlines() if line.startswith(f"{cause}: ")]
    moved = [schedule.transition] if schedule.transition else map(transition_of, said)
    by = scenario.transitions if cause == LegalTransition.name else ()
    same = not by or any(each in by for each in moved)
    return able and cause in scenario.breaks and same


_BY_PERSON: Mapping[str, set[str]] = {
    "mark": {"mark", "mark-run"}, "mark-run": {"mark-run"}, "clear": {"clear"},
    "resize": {"resize"}, "delete-run": set(), "pause-dag": set(), "drain-dag": set(),
    "unpause-dag": set(),
    "backfill": set(),
}  # fmt: skip
"""What a person does in a scenario, and by which moves of a round: some by none."""


def _has_persons(schedule: Schedule, scenario: Scenario) -> bool:
    """Return whether a round had all that a person does in one of a scenario's permutations."""
    moves = {deed.do for deed in schedule.moves}
    done = ({step.verb for step in steps} for steps in scenario.forcing.values())
    return any(
        all(moves & _BY_PERSON[verb] for verb in verbs & _BY_PERSON.keys()) for verbs in done
    )


def powers(schedule: Schedule) -> frozenset[str]:
    """Return the powers that a round had: races that need others cannot be what it shows."""
    moves = {deed.do for deed in schedule.moves}
    by_requests = "silence" in moves or any(isinstance(p, Requested) for p in schedule.watched)
    return POWERS | ({"kill"} & moves) | ({"kube-api"} if by_requests else frozenset())


def _told(find: Find, race: Scenario | None) -> ExploredFind:
    return ExploredFind(find.schedule.round, sorted(find.broken), race.name if race else "")


def record_of(lab: Lab, test: str, seed: int, explored: Explored, too_little: str) -> TestRecord:
    """Return what verdict.json says: the rounds that broke each promise, and the bound on others.

    A find that did not show itself again is none.
    """
    counted = [find for find in explored.finds if find.race or find.again]
    broken = [name for find in counted for name in find.broken]
    verdict: Verdict = "invalid" if broken else "unknown" if too_little else "valid"
    return TestRecord(
        schema=SCHEMA,
        test=test,
        **about(lab),
        seed=seed,
        verdict=verdict,
        reasons=[too_little] if verdict == "unknown" else [],
        violations={name: broken.count(name) for name in sorted(set(broken))},
        races=[_race(name, explored, lab) for name in sorted({f.race for f in counted if f.race})],
        explored=explored,
    )


def _race(name: str, explored: Explored, lab: Lab) -> Known:
    """Return a known race that was found; whatever broke in a round of it came of it."""
    known = KnownRace(scenarios()[name], shows=False).of(lab.airflow.version)
    broken = {each for find in explored.shows(name) for each in find.broken}
    return replace(known, follows=sorted(broken.difference(known.breaks)))


def too_few(rounds: int, unknown: int) -> str:
    """Say why so many rounds, of which some are unknown, say nothing; empty where they do."""
    if rounds and unknown <= (1 - LEAST_KNOWN) * rounds:
        return ""
    counted = f"{unknown} of {rounds} explored rounds are unknown"
    if rounds < LEAST_ROUNDS:
        return f"Explored too short: {counted}; give --explore more."
    return f"{counted}."
