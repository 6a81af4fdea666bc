"""What an exploration costs: rounds an hour, and the controller's own share of a round's time.

    .venv/bin/python -m benchmarks.explore 3.3.2 --rounds 60
    .venv/bin/python -m benchmarks.explore 3.3.2 --rounds 200 --points coarse --four

The controller's share is the CPU time of its thread and that of its session's server process, out
of the time of the rounds. `--four` has four small runs in each round, and no moves. Memory is that
of this process, recorder and judge in it, at the first quarter and in the end.
"""

import argparse
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import psutil

from explore.coverage import Coverage
from explore.explorer import Drawn, Explorer
from explore.plan import WORLDS, Plan, lab_spec
from explore.points import LEVELS
from explore.schedule import Deed
from explore.strategies import EXPLORING, Strategy, depth_of, drawn
from lab.database import connect
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner

FOUR = ("serial", "serial", "diamond-1", "wide-3")
_EVERY = 0.1
_MINE = """
SELECT pid FROM pg_stat_activity
WHERE application_name = 'chaos' AND query LIKE 'SELECT chaos.step(%'
"""


class Four:
    """Draws rounds of the same four runs."""

    def __init__(self, seed: int, levels: Sequence[str]) -> None:
        self._seed = seed
        self._levels = levels

    def draw(self, number: int, coverage: Coverage, usual: int) -> tuple[Plan, Strategy]:
        """Return the plan and the strategy of a round."""
        rng = Random(f"{self._seed}:{number}")
        turn, which = divmod(number, len(EXPLORING))
        deeds = [Deed("trigger", dag, run=f"{n}") for n, dag in enumerate(FOUR)]
        level = rng.choice(list(self._levels))
        strategy = drawn(EXPLORING[which], rng, coverage, depth_of(turn), usual)
        return Plan(level, LEVELS[level], deeds), strategy


class ServerShare:
    """Adds up the CPU time of the server processes that wait for the controller."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._used: dict[int, tuple[float, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        with connect(self._dsn) as connection:
            while not self._stop.wait(_EVERY):
                for (pid,) in connection.execute(_MINE).fetchall():
                    self._look(pid)

    def _look(self, pid: int) -> None:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            return
        now = times.user + times.system
        self._used[pid] = (self._used.get(pid, (now, now))[0], now)

    def end(self) -> float:
        """Return the seconds."""
        self._stop.set()
        self._thread.join()
        return sum(last - first for first, last in self._used.values())


def main() -> None:
    """Explore, and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("airflow")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", choices=WORLDS, default="run-a-loop")
    parser.add_argument("--points", action="append", choices=LEVELS)
    parser.add_argument("--four", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    owner = Owner.me()
    spec = lab_spec(prepare(options.airflow), WORLDS[options.world])
    lab = start(spec, owner=(owner.pid, owner.born))
    folder = Path(tempfile.mkdtemp())
    levels = options.points or tuple(LEVELS)
    source = (
        Four(options.seed, levels)
        if options.four
        else Drawn(options.seed, levels=levels, world=options.world)
    )
    memory: list[int] = []
    share = ServerShare(lab.dsn())
    try:
        explorer = Explorer(
            lab, folder, options.seed, source, tell=lambda _: None,
            after=lambda _: memory.append(psutil.Process().memory_info().rss),
        )  # fmt: skip
        began = time.monotonic()
        explorer.explore(lambda: explorer.number >= options.rounds)
        _report(explorer, time.monotonic() - began, share.end(), memory)
    finally:
        lab.stop()
        shutil.rmtree(folder)


def _report(explorer: Explorer, seconds: float, server: float, memory: Sequence[int]) -> None:
    totals = explorer.totals
    print(explorer.totals.line(explorer.coverage))
    print(f"{3600 * totals.rounds / seconds:.0f} rounds an hour with all that is around them, "
          f"{3600 * totals.rounds / totals.exploring:.0f} in rounds alone; "
          f"{totals.steps / totals.rounds:.0f} points a round")  # fmt: skip
    print(f"controller: {totals.cpu / totals.exploring:.1%} of a round in its thread, "
          f"{server / totals.exploring:.1%} in the server, "
          f"{1000 * (totals.cpu + server) / totals.steps:.2f} ms CPU a point")  # fmt: skip
    print(f"uncontrolled: {totals.uncontrolled:.0%} of steps ({dict(totals.reasons)})")
    quarter = memory[len(memory) // 4]
    print(f"memory: {quarter / 1e6:.0f} MB at a quarter, {memory[-1] / 1e6:.0f} MB in the end")
    for find in explorer.finds:
        print(f"  round {find.schedule.round} ({find.schedule.strategy}) after {find.at:.0f} s: "
              f"{', '.join(sorted(find.broken))}")  # fmt: skip


if __name__ == "__main__":
    main()
