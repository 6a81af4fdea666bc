"""An exploration: rounds in batches, each recorded and judged, and what they found and covered.

    batch:  Run.begin --> round, round, round .. (until one breaks a promise) --> Run.end
                             |                                                      |
                        plan(seed, n), strategy(n)                     finds/N: schedule, history

A batch shares one recorder, for to start one takes as long as a round; its history is judged as
that of any test is. What was found is on disk before the next batch begins.
"""

import logging
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

import psycopg
import requests
from msgspec.structs import replace

from chaos.holds.points import STATEMENTS
from common.errors import UserError
from common.interrupts import undisturbed
from common.waiting import Deadline, until
from explore import schedule as schedules
from explore.controller import Controller
from explore.coverage import Coverage
from explore.finds import Find, broke, folder_for, is_of
from explore.heartbeats import Heartbeats
from explore.plan import Plan, plan, shapes
from explore.points import ASSETS, COMMITS, LEVELS, SCANS
from explore.requests import RequestController
from explore.rounds import LEFT, Performance, Round
from explore.schedule import SCHEMA, Schedule
from explore.strategies import TURNS, Strategy, depth_of, drawn
from lab.base import Lab
from lab.database import connect, value
from oracle import witness
from oracle.history import HistoryError
from oracle.verdict import Judgement
from recorder.audit import AuditError
from recorder.recorder import RecorderError
from run.run import Run

log = logging.getLogger(__name__)

TROUBLES = (psycopg.Error, requests.RequestException, RecorderError, HistoryError, AuditError)
"""What a lab that dies in a round ends in, whoever notices first."""


class LabLost(UserError):
    """The lab died, or does not come to rest; what was found until then is kept."""


BATCH = 40
"""Rounds that share a recorder, and a database."""

BATCH_SECONDS = 240.0
"""Seconds after which no round is added to a batch: a SIGKILL loses what was not judged."""

_EVERY = tuple(dict.fromkeys((*SCANS, *COMMITS, *ASSETS)))
_USUAL = 120
_WARM, _WARMING = "deep-2", 60.0
_EMPTY = "DELETE FROM dag_run; DELETE FROM asset_event; DELETE FROM log"


@dataclass
class Totals:
    """What an exploration did so far, all its sessions together.

    `exploring` are the seconds within rounds, out of all `seconds`, and `cpu` those of processor
    time that the controller itself took; `reasons` count how steps ended (controller.Rest).
    """

    rounds: int = 0
    steps: int = 0
    unknown: int = 0
    finds: int = 0
    seconds: float = 0.0
    exploring: float = 0.0
    cpu: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Return how many rounds say something."""
        return max(0, self.rounds - self.unknown)

    @property
    def uncontrolled(self) -> float:
        """Return the share of steps after which time told who stands, not what was chosen."""
        left = sum(n for how, n in self.reasons.items() if how not in ("arrived", "blocked"))
        return left / self.steps if self.steps else 0.0

    def line(self, coverage: Coverage) -> str:
        """Return the line that tells how far it is."""
        hourly = 3600 * self.rounds / self.seconds if self.seconds else 0
        return (
            f"{self.rounds} {'round' if self.rounds == 1 else 'rounds'} ({hourly:.0f} an hour), "
            f"{self.steps} points, {len(coverage.orders)} distinct orders, "
            f"{len(coverage.pairs)} pairs, {self.unknown} unknown, {self.finds} found"
        )


class Source(Protocol):
    """Says what a round does, by its number, and who chooses in it."""

    def draw(self, number: int, coverage: Coverage, usual: int) -> tuple[Plan, Strategy]:
        """Return the plan and the strategy of a round; `usual` is how many steps others had."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Draws rounds by a seed: the strategies in turn, PCT deeper from time to time."""

    seed: int
    strategies: Sequence[str] = TURNS
    levels: Sequence[str] = tuple(LEVELS)
    moves: bool = True
    world: str = "defaults"

    def draw(self, number: int, coverage: Coverage, usual: int) -> tuple[Plan, Strategy]:
        """Return the plan and the strategy of a round."""
        rng = Random(f"{self.seed}:{number}")
        what = plan(rng, self.levels, moves=self.moves, world=self.world)
        turn, which = divmod(number, len(self.strategies))
        return what, drawn(self.strategies[which], rng, coverage, depth_of(turn), usual)


class Explorer:
    """Explores one lab. `begin` is the number of the first round: to go on where one ended."""

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        seed: int,
        source: Source,
        *,
        settings: dict[str, str] | None = None,
        begin: int = 0,
        coverage: Coverage | None = None,
        totals: Totals | None = None,
        tell: Callable[[str], None] = log.info,
        after: Callable[["Explorer"], None] = lambda _: None,
        advises: bool = True,
    ) -> None:
        self.lab = lab
        self.folder = folder
        self.seed = seed
        self.settings = settings or {}
        self.number = begin
        self.coverage = coverage or Coverage()
        self.totals = totals or Totals()
        self.finds: list[Find] = []
        self.kept: list[float] = []
        """Of each round: the share of its steps before it parted from the schedule it replays."""
        self._source = source
        self._tell = tell
        self._after = after
        self._advises = advises
        self._heartbeats = Heartbeats()
        self._usual = _USUAL
        self._is_warm = False
        self._began = time.monotonic()

    def explore(self, over: Callable[[], bool]) -> None:
        """Explore batch after batch until `over` says so; asked before each round."""
        if not over():
            self.warm()
        while not over():
            self._batch(over)

    def warm(self) -> None:
        """Have a run end freely, once: what a fresh API server does at first takes a round's time.

        Whose time is short calls it before that begins.
        """
        if self._is_warm:
            return
        self._is_warm = True
        self._tell("The lab is up; a first run has its API server ready, which takes some seconds.")
        self.lab.api.trigger(_WARM, f"warm-{secrets.token_hex(2)}")
        with connect(self.lab.dsn()) as connection:
            until(lambda: not value(connection, LEFT), _WARMING)
            connection.execute(_EMPTY)

    def _batch(self, over: Callable[[], bool]) -> None:
        """Explore, record and judge some rounds. Raises UserError where the lab is lost."""
        began = time.monotonic()
        rounds: list[tuple[Round, Schedule]] = []
        try:
            self._recorded(rounds, over)
        except (*TROUBLES, UserError) as error:
            self.totals.unknown += len(rounds)
            self._tell(f"The rounds from {self.number - len(rounds)} on are unknown: {error}")
        finally:
            self.totals.seconds += time.monotonic() - began
        try:
            self._clean(rounds)
        except (*TROUBLES, UserError) as error:
            self._after(self)
            raise LabLost(f"The lab does not recover: {error}", "Boot another.") from error
        self._tell(self.totals.line(self.coverage))
        self._after(self)

    def _clean(self, rounds: Sequence[tuple[Round, Schedule]]) -> None:
        """Empty the database; what has not ended by itself is ended as between two tests."""
        if rounds and all(done.over for done, _ in rounds):
            with connect(self.lab.dsn()) as connection:
                connection.execute(_EMPTY)
        else:
            self.lab.clean()  # type: ignore[attr-defined]

    def _recorded(self, rounds: list[tuple[Round, Schedule]], over: Callable[[], bool]) -> None:
        folder = self.folder / f"batch-{self.number}"
        shutil.rmtree(folder, ignore_errors=True)
        run = Run(self.lab, folder, f"exploration-{self.number}", self.seed)
        try:
            run.begin()
            self._explored(run, rounds, over)
            with undisturbed():
                self._judged(run.end(), rounds, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _explored(
        self, run: Run, rounds: list[tuple[Round, Schedule]], over: Callable[[], bool]
    ) -> None:
        """Perform rounds. Where a person stops them, what was recorded is judged nevertheless."""
        try:
            self._rounds(run, rounds, over)
        except KeyboardInterrupt:
            self._tell("Interrupted; what was recorded is judged first.")
            with undisturbed():
                self._judged_anyhow(run, rounds)
            raise
        except BaseException:
            run.abandon()
            raise

    def _judged_anyhow(self, run: Run, rounds: Sequence[tuple[Round, Schedule]]) -> None:
        try:
            self._judged(run.end(), rounds, run.folder)
        except (*TROUBLES, UserError) as error:
            self.totals.unknown += sum(not done.interrupted for done, _ in rounds)
            self._tell(f"It cannot be judged: {error}")
            run.abandon()

    def _rounds(
        self, run: Run, rounds: list[tuple[Round, Schedule]], over: Callable[[], bool]
    ) -> None:
        controller = self._controller()
        self._heartbeats.meet(controller.connection, self.lab.schedulers)
        late = Deadline(BATCH_SECONDS)
        with controller:
            while not (len(rounds) == BATCH or late.passed or run.violated.is_set() or over()):
                self._round(run, controller, rounds)
                if not rounds[-1][0].over:
                    break

    def _controller(self) -> Controller:
        """Return who lets past: at requests too, where the lab's Kubernetes API is its own."""
        if self.lab.missing("kube-api"):
            return Controller(self.lab.dsn(), _EVERY)
        api = self.lab.kube_api  # type: ignore[attr-defined]
        return RequestController(self.lab.dsn(), _EVERY, api, self.lab.schedulers)

    def _round(
        self, run: Run, controller: Controller, rounds: list[tuple[Round, Schedule]]
    ) -> None:
        """Perform a round, and keep it, also one that does not come to its end."""
        number, self.number = self.number, self.number + 1
        drawn_plan, strategy = self._source.draw(number, self.coverage, self._usual)
        controller.switch(drawn_plan.points)
        mark = f"x{number}-{secrets.token_hex(2)}"
        done = Round(number, mark, run.recorder.now())
        try:
            performance = Performance(run, controller, strategy, self.coverage, self._heartbeats)
            performance.perform(done, drawn_plan.deeds)
        finally:
            done.parted = getattr(strategy, "parted", None)
            if not done.interrupted:
                self._count(done)
            schedule = self._schedule(done, drawn_plan, strategy)
            rounds.append((done, schedule))
            if not done.unknown:
                schedules.write(schedule, run.folder / f"round-{number}.yaml")

    def _count(self, done: Round) -> None:
        self._usual = (3 * self._usual + len(done.steps)) // 4
        steps = max(1, len(done.steps))
        self.kept.append(1.0 if done.parted is None else min(1.0, done.parted / steps))
        totals = self.totals
        totals.rounds += 1
        totals.steps += len(done.steps)
        totals.exploring += done.seconds
        totals.cpu += done.cpu
        for reason in (step.rsplit(" ", 1)[1] for step in done.steps):
            totals.reasons[reason] = totals.reasons.get(reason, 0) + 1
        log.debug(
            "Round %d: %d steps in %.1f s%s",
            done.number,
            len(done.steps),
            done.seconds,
            "" if done.over else ", not over",
        )
        for each in done.remarks:
            log.debug("Round %d: %s", done.number, each)
            if not self._advises:  # a replay, which was none then
                self._tell(f"Round {done.number}: {each}")

    def _schedule(self, done: Round, of: Plan, strategy: Strategy) -> Schedule:
        return Schedule(
            schema=SCHEMA,
            airflow=self.lab.airflow.version,
            shapes=shapes(self.settings),
            settings=self.settings,
            seed=self.seed,
            round=done.number,
            strategy=strategy.name,
            points=list(map(str, of.points)),
            deeds=done.deeds or list(of.deeds),
            steps=done.steps,
            statements={
                name: done.patterns[name]
                for name in dict.fromkeys(step.split()[1] for step in done.steps)
                if name in done.patterns and name not in STATEMENTS
            },
        )

    def _judged(
        self, judgement: Judgement, rounds: Sequence[tuple[Round, Schedule]], folder: Path
    ) -> None:
        if not rounds:  # the time was over before the first
            return
        if judgement.verdict == "unknown":
            self.totals.unknown += sum(not done.interrupted for done, _ in rounds)
            reasons = "; ".join(judgement.reasons)
            self._tell(f"The rounds from {self.number - len(rounds)} on are unknown: {reasons}")
            return
        text = witness.text(judgement) if judgement.violations else ""
        for done, schedule in rounds:
            violations = [each for each in judgement.violations if is_of(each, done)]
            broken = sorted({each.invariant for each in violations})
            if done.unknown:
                self._unknown(done, broken)
            elif violations:
                first = min(each.t for each in violations)
                until_then = sum(t <= first for t in done.times)
                self.found(replace(broke(schedule, violations, text), until=until_then), folder)

    def _unknown(self, done: Round, broken: Sequence[str]) -> None:
        """Say why nothing follows from a round: what it broke, it may have while all ran freely."""
        self.totals.unknown += not done.interrupted
        but = f"; that it broke {', '.join(broken)} does not count" if broken else ""
        self._tell(f"Round {done.number} is unknown: {done.unknown}{but}.")

    def find_again(self, kept: Path, schedule: Schedule, *, counted: bool) -> None:
        """Find what a session before this one kept, and did not tell: it was killed."""
        self.finds.append(Find(kept, schedule, 0.0))
        self.totals.finds += not counted
        broken = ", ".join(schedule.broken)
        self._tell(f"{kept} broke {broken}; the session that found it did not come to its end.")

    def found(self, schedule: Schedule, folder: Path) -> None:
        """Keep the schedule of a round that broke promises, with the history in a folder."""
        kept = folder_for(self.folder / "finds", schedule.round)
        schedules.write(schedule, kept / "schedule.yaml")
        if (folder / "history.ndjson").exists():
            shutil.copy(folder / "history.ndjson", kept)
        self.finds.append(Find(kept, schedule, time.monotonic() - self._began))
        self.totals.finds += 1
        broken = ", ".join(schedule.broken)
        self._tell(f"Round {schedule.round} ({schedule.strategy}) broke {broken}.")
        if self._advises:
            self._tell(f"Next: python -m explore replay {kept / 'schedule.yaml'}")
