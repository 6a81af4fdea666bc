"""Breaks each history in every way, and prints what was caught: `python -m benchmarks.mutants`."""

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import benchmarks.mutants
from benchmarks.mutants import dags, limits, progress, runs, states, workers
from benchmarks.mutants.making import Way
from oracle.events import End, Event, Header
from oracle.history import HistoryError, read
from oracle.verdict import Judge, Judgement

WAYS = (*states.WAYS, *runs.WAYS, *limits.WAYS, *workers.WAYS, *progress.WAYS, *dags.WAYS)
SHOWN = 5
"""Survivors of a way that are named; the others only count."""


def judged(header: Header, events: Sequence[Event]) -> Judgement:
    """Judge a history that is in memory."""
    judge = Judge(header)
    for event in events:
        judge.feed(event)
    if not isinstance(events[-1], End):
        judge.feed(End(events[-1].t + 1.0, len(events)))
    return judge.conclude()


def histories(places: Sequence[Path]) -> Iterator[tuple[Path, Header, list[Event]]]:
    """Give the valid histories of run folders; the others say so."""
    for path in chain.from_iterable(
        sorted(place.rglob("history.ndjson")) if place.is_dir() else [place] for place in places
    ):
        try:
            header, found = read(path)
            events = list(found)
        except HistoryError as error:
            print(f"left out: {error}")
            continue
        if (verdict := judged(header, events).verdict) == "valid":
            yield path, header, events
        else:
            print(f"left out, for it is {verdict}: {path.parent.name}")


class Tally:
    """What became of the mutants of each way."""

    def __init__(self) -> None:
        self.caught: defaultdict[Way, int] = defaultdict(int)
        self.made: defaultdict[Way, int] = defaultdict(int)

    def try_out(self, way: Way, header: Header, mutants: Sequence[list[Event]], name: str) -> None:
        """Judge some mutants of a history, and name those that survive."""
        for mutant in mutants:
            self.made[way] += 1
            if judged(header, mutant).by_invariant[way.promise]:
                self.caught[way] += 1
            elif self.made[way] - self.caught[way] <= SHOWN:
                print(f"survived: {way.promise}: {way.name} ({name})", flush=True)

    def report(self, ways: Sequence[Way]) -> None:
        """Print a line a way, and one for each promise."""
        for promise in dict.fromkeys(way.promise for way in ways):
            of_it = [way for way in ways if way.promise == promise]
            made = sum(self.made[way] for way in of_it)
            used = sum(self.made[way] > 0 for way in of_it)
            print(f"{promise}: {sum(self.caught[w] for w in of_it)} of {made}, in {used} ways")
            for way in of_it:
                print(f"    {way.name:<46} {self.caught[way]:>5} of {self.made[way]}")


def main() -> None:
    """Break each history in every way, and print what was caught."""
    parser = argparse.ArgumentParser(
        description=benchmarks.mutants.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("places", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--each", type=int, default=5, help="of a way and a history (%(default)s)")
    parser.add_argument("--promise", action="append", help="only this one; repeatable")
    options = parser.parse_args()
    ways = [way for way in WAYS if not options.promise or way.promise in options.promise]
    tally, dice = Tally(), random.Random(1)
    for path, header, events in histories(options.places):
        for way in ways:
            if way.model in (None, header.attempts):
                mutants = list(islice(way.mutants(events), MOST))
                drawn = dice.sample(mutants, min(options.each, len(mutants)))
                tally.try_out(way, header, drawn, path.parent.name)
    tally.report(ways)


MOST = 2_000
"""Mutants of a way that are made of one history, to draw from: each is a history in memory."""

if __name__ == "__main__":
    main()
