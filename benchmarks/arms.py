"""Is the explorer better than chance? Three arms look for the same races, in turn, in one lab.

    .venv/bin/python -m benchmarks.arms 3.3.2 --minutes 10
    .venv/bin/python -m benchmarks.arms 3.0.6 --world defaults --minutes 10 --slice 100

    explorer      rounds drawn by the seed, whose statements go on in orders that strategies choose
    alone         the same rounds, each begun when the last one is over, with no control at all
    delays R      as alone, with a random delay from 0 to R seconds at each of the same points

All arms draw the same rounds with the same seed, share a recorder between rounds, end a batch at
the first violation, and have every batch judged by all promises; what begins at the n-th step of an
explored round begins n times _STEP seconds into one of the others, which is about as late. A race
is told by the first promise that a round broke, and its transition where it is that of transitions:
the others came of it. It is found once such a round was judged; the time is what the arm has had
until then, with all that it needs around its rounds. What is not found counts as the whole time.

Orders are told from the histories, so for all arms alike: of each DAG run, the changes of its own
row and of its task instances' rows as they were committed, with who made each; a sequence that was
not there before is a new order.
"""

import argparse
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import psycopg
from msgspec.structs import replace

from chaos.holds.installer import install
from chaos.holds.points import Point, like
from chaos.holds.rule import Rule
from chaos.kube_api import KubeApiLab
from chaos.pod_api_latency import PodApiLatency
from common.waiting import Deadline, until
from explore.coverage import Coverage
from explore.explorer import BATCH, Drawn, Explorer
from explore.finds import runs_of
from explore.heartbeats import Heartbeats
from explore.moves import VERBS, Moves
from explore.plan import WORLDS, Plan, lab_spec
from explore.points import PROCESSES, Requested, Watched
from explore.rounds import LEFT, LONGEST, Round, carry_out
from explore.schedule import Deed, Schedule
from lab.database import connect, value
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.supervised import SupervisedLab
from oracle.events import DagRunEvent, TaskInstanceEvent
from oracle.history import read
from oracle.invariants import Violation, cause_of
from oracle.invariants.legal_transition import LegalTransition, transition_of
from oracle.verdict import Judgement
from run.run import Run

RANGES = (0.02, 0.2, 1.0)
"""Seconds: one in the order of a statement's own time, one of a loop's, and one far above both."""

_STEP = 0.03
"""Seconds that a step of an explored round takes, about (benchmarks.explore)."""

_SLOTS = "128"
"""Of the pool that Airflow begins with, and that a move resizes."""

_CANCEL = """
SELECT application_name FROM (
    SELECT application_name, pid FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND application_name LIKE ANY (%s)
    ORDER BY random() LIMIT 1
) AS victim WHERE pg_cancel_backend(pid)
"""


class Orders:
    """Counts in how many orders the rows of DAG runs were changed."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, history: Path) -> None:
        """Add those of a batch, its runs called `xROUND-..-RUN`; one that was not kept has none."""
        if not history.exists():
            return
        found: dict[tuple[str, str], list[str]] = {}
        for event in read(history)[1]:
            if isinstance(event, TaskInstanceEvent) and event.new is not None:
                row, state = f"{event.ti.task_id}[{event.ti.map_index}]", event.new.state
                run = (event.ti.dag_id, event.ti.run_id)
            elif isinstance(event, DagRunEvent):
                row, state, run = "run", event.new, (event.dag_id, event.run_id)
            else:
                continue
            found.setdefault(run, []).append(f"{event.process} {row} {state}")
        self._seen |= {(dag, *changes) for (dag, _), changes in found.items()}


def races(judgement: Judgement, without: Collection[str] = ()) -> set[str]:
    """Return the races that the rounds of a batch showed, but for some rounds (`x7`)."""
    if judgement.verdict == "unknown":
        return set()
    rounds: dict[str, list[Violation]] = {}
    for each in judgement.violations:
        run = next(iter(runs_of(each)), "")
        rounds.setdefault(run.partition("-")[0], []).append(each)
    found = set()
    for violations in (each for name, each in rounds.items() if name not in without):
        cause = cause_of({each.invariant for each in violations})
        first = next(each for each in violations if each.invariant == cause)
        how = transition_of(first.message) if cause == LegalTransition.name else ""
        found.add(f"{cause} {how}".rstrip())
    return found


class Arm(Protocol):
    """Looks for races, for some seconds at a turn."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def rounds(self) -> int:
        """How many there were so far."""

    @property
    def unknown(self) -> int:
        """Of how many nothing follows."""

    @property
    def orders(self) -> Orders:
        """In which orders rows were changed."""

    def look(self, over: Callable[[], bool], tell: Callable[[set[str]], None]) -> None:
        """Look until it is over; `tell` of each batch which promises it broke."""


class _Counted(Explorer):
    """An explorer that adds the orders, and the races, of each batch as it is judged."""

    orders: Orders
    told: Callable[[set[str]], None]

    def _judged(
        self, judgement: Judgement, rounds: Sequence[tuple[Round, Schedule]], folder: Path
    ) -> None:
        self.orders.add(folder / "history.ndjson")
        super()._judged(judgement, rounds, folder)
        unknown = {done.mark.partition("-")[0] for done, _ in rounds if done.unknown}
        self.told(races(judgement, unknown))


class Explored:
    """The explorer as it is."""

    name = "explorer"

    def __init__(self, lab: SupervisedLab, folder: Path, source: Drawn) -> None:
        self._explorer = _Counted(lab, folder, source.seed, source, tell=lambda _: None)
        self.orders = self._explorer.orders = Orders()

    def look(self, over: Callable[[], bool], tell: Callable[[set[str]], None]) -> None:
        """Explore until it is over."""
        self._explorer.told = tell
        self._explorer.explore(over)

    @property
    def rounds(self) -> int:
        """Return how many there were."""
        return self._explorer.totals.rounds

    @property
    def unknown(self) -> int:
        """Return of how many nothing follows."""
        return self._explorer.totals.unknown


@dataclass
class Free:
    """Rounds that nobody controls, with random delays of up to `delay` seconds at their points."""

    lab: SupervisedLab
    folder: Path
    source: Drawn
    delay: float = 0.0
    rounds: int = 0
    unknown: int = 0
    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    orders: Orders = field(default_factory=Orders)

    @property
    def name(self) -> str:
        """Return what it is called."""
        return f"delays {self.delay:g}" if self.delay else "alone"

    def look(self, over: Callable[[], bool], tell: Callable[[set[str]], None]) -> None:
        """Perform rounds until it is over."""
        while not over():
            tell(self._batch(over))

    def _batch(self, over: Callable[[], bool]) -> set[str]:
        """Perform rounds until one breaks a promise; return what was broken."""
        run = Run(self.lab, self.folder / f"{self.name}-{self.rounds}", self.name, self.source.seed)
        run.begin()
        began = self.rounds
        try:
            while self.rounds < began + BATCH and not run.violated.is_set() and not over():
                if not self._round(run):
                    break
        except BaseException:
            run.abandon()
            raise
        judgement = run.end()
        self.orders.add(run.folder / "history.ndjson")
        shutil.rmtree(run.folder, ignore_errors=True)
        self.lab.clean()
        if judgement.verdict == "unknown":
            self.unknown += self.rounds - began
        return races(judgement)

    def _round(self, run: Run) -> bool:
        plan, _ = self.source.draw(self.rounds, Coverage(), 1)
        mark = f"x{self.rounds}-{self.name.replace(' ', '-')}"
        self.rounds += 1
        with connect(self.lab.dsn()) as connection:
            moves = self._moves(run, connection)
            with self._delayed(run, plan):
                self._perform(run, plan, mark, moves)
                over = until(lambda: not value(connection, LEFT), LONGEST)
            moves.end()
            moves.restore()
            for deed in plan.deeds:
                if deed.do == "resize":
                    carry_out(self.lab.api.base_url, replace(deed, state=_SLOTS), mark)
        return bool(over)

    def _moves(self, run: Run, connection: psycopg.Connection) -> Moves:
        install(self.lab.dsn(), "dag_run")
        self.heartbeats.meet(connection, self.lab.schedulers)
        return Moves(run, self.heartbeats)

    @contextmanager
    def _delayed(self, run: Run, plan: Plan) -> Iterator[None]:
        half, lab = self.delay / 2, cast("KubeApiLab", self.lab)
        with ExitStack() as stack:
            for number, point in enumerate(plan.points if self.delay else ()):
                seed = self.source.seed + number
                if isinstance(point, Requested):
                    for scheduler in self.lab.schedulers:
                        late = PodApiLatency(scheduler, half, half, seed, request=point.verb)
                        stack.enter_context(late.on(lab, run.record))
                    continue
                for process in PROCESSES:
                    rule = Rule(self.lab.dsn(), process, _point(point))
                    stack.callback(rule.withdraw)
                    rule.put(half, half, seed)
            yield

    def _perform(self, run: Run, plan: Plan, mark: str, moves: Moves) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            for deed in sorted(plan.deeds, key=lambda each: each.at):
                time.sleep(max(0.0, began + deed.at * _STEP - time.monotonic()))
                if deed.do in VERBS:
                    moves.make(deed, pool.submit)
                else:
                    pool.submit(self._do, run, deed, mark)

    def _do(self, run: Run, deed: Deed, mark: str) -> None:
        if deed.do != "cancel":
            carry_out(self.lab.api.base_url, deed, mark)
            return
        with connect(self.lab.dsn()) as connection:
            deadline = Deadline(1.0)
            while not deadline.passed:
                if victim := value(connection, _CANCEL, [*map(like, PROCESSES)]):
                    run.record("cancel", "statement", str(victim), "pg_cancel_backend")
                    return
                time.sleep(0.002)


def _point(watched: Watched) -> Point:
    return Point(watched.table, row={} if watched.commits else None)


@dataclass
class Score:
    """What an arm has had, and what it found: seconds of its own until then, by promise."""

    arm: Arm
    seconds: float = 0.0
    found: dict[str, float] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def slice(self, seconds: float) -> None:
        """Have the arm look for some seconds, and end the batch that it is in."""
        began, before = time.monotonic(), self.seconds

        def tell(broken: set[str]) -> None:
            self.seconds = before + time.monotonic() - began
            for each in broken:
                self.found.setdefault(each, self.seconds)
                self.times[each] = self.times.get(each, 0) + 1

        self.arm.look(lambda: time.monotonic() >= began + seconds, tell)
        self.seconds = before + time.monotonic() - began

    def line(self) -> str:
        """Say it in a line."""
        rounds, orders = (self.hourly(each) for each in (self.arm.rounds, len(self.arm.orders)))
        found = ", ".join(
            f"{name} after {at:.0f} s ({self.times[name]} times)"
            for name, at in sorted(self.found.items(), key=lambda item: item[1])
        )
        return (
            f"{self.arm.name:12} {self.seconds:5.0f} s, {self.arm.rounds} rounds "
            f"({rounds:.0f} an hour, {self.arm.unknown} unknown), {len(self.arm.orders)} orders "
            f"({orders:.0f} an hour): {found or 'nothing'}"
        )

    def hourly(self, count: int) -> float:
        """Return how many that is an hour."""
        return 3600 * count / self.seconds if self.seconds else 0.0


def main() -> None:
    """Have the arms look in turn, and print what each found, and when."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("airflow")
    parser.add_argument("--minutes", type=float, default=10.0, help="that each arm has")
    parser.add_argument("--slice", type=float, default=100.0, help="seconds at a turn")
    parser.add_argument("--world", choices=WORLDS, default="run-a-loop")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    owner = Owner.me()
    spec = lab_spec(prepare(options.airflow), WORLDS[options.world])
    folder = Path(tempfile.mkdtemp())
    lab = start(spec, owner=(owner.pid, owner.born))
    try:
        scores = [Score(arm) for arm in arms(lab, folder, Drawn(options.seed, world=options.world))]
        while min(each.seconds for each in scores) < 60 * options.minutes:
            for each in scores:
                each.slice(min(options.slice, max(0.0, 60 * options.minutes - each.seconds)))
                print(each.line(), flush=True)
    finally:
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report(scores, 60 * options.minutes)


def arms(lab: SupervisedLab, folder: Path, source: Drawn) -> list[Arm]:
    """Return all arms."""
    free = (Free(lab, folder, source, delay) for delay in (0.0, *RANGES))
    return [Explored(lab, folder, source), *free]


def report(scores: Sequence[Score], budget: float) -> None:
    """Print each race's time with each arm, and the ratio of the medians."""
    races = sorted({race for each in scores for race in each.found})
    print()
    for each in scores:
        print(each.line())
    mine, _, *theirs = (each.hourly(len(each.arm.orders)) for each in scores)
    print(f"Orders an hour: explorer {mine:.0f}, the best range of delays {max(theirs):.0f}, "
          f"ratio {mine / max(1.0, *theirs):.2f}")  # fmt: skip
    for race in races:
        times = (f"{each.arm.name} {each.found.get(race, budget):.0f} s" for each in scores)
        print(f"{race}: {', '.join(times)}")
    if not races:
        print("No arm found anything.")
        return
    explorer, _, *delays = [
        statistics.median(each.found.get(race, budget) for race in races) for each in scores
    ]
    ratio = explorer / min(delays)
    print(f"Median over {len(races)} races: explorer {explorer:.0f} s, "
          f"the best range of delays {min(delays):.0f} s, ratio {ratio:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
