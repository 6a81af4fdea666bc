"""How fast `python -m oracle check` judges a long history, and in how much memory.

    .venv/bin/python -m benchmarks.history --against ../another-checkout
    .venv/bin/python -m benchmarks.history --events 10000000 --turns 1

The history is a real one, repeated under new names and later times until there are enough events,
so that two or three floods go on at any time. Each turn checks it with this checkout and then with
the other, in a process of its own; best is the turn with the least CPU time (user and system),
which neighbours disturb least. Kinds of events that the other checkout does not know are left out
with `--without`.
"""

import argparse
import gzip
import heapq
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

HERE = Path(__file__).parent.parent
SOURCE = HERE / "tests/reports/timeline/histories/flood.ndjson.gz"
EVENTS = 500_000
TURNS = 3
AT_ONCE = 2.5
"""So many repetitions go on at any time."""

ONCE = frozenset({"header", "end", "assumption", "fault", "gate", "hold", "process"})
"""Kinds of events that are not repeated: they are of a lab, not of a flood."""


class Cost(NamedTuple):
    """What a check took: seconds of CPU and of the clock, megabytes at the most."""

    cpu: float
    wall: float
    megabytes: float


class _Line(NamedTuple):
    """A line of a history: its time, and its text cut where a repetition differs."""

    t: float
    head: str
    rest: list[str]

    def repeated(self, number: int, later: float) -> tuple[float, str]:
        t = round(self.t + later, 6)
        return t, f"{self.head}{t}{str(number).join(self.rest)}"


def multiply(source: Path, path: Path, events: int, without: Sequence[str] = ()) -> int:
    """Write a history of at least so many events, from a real one; return how many it has."""
    header, *lines = _text(source).splitlines(keepends=True)
    once, often = _parts(lines, frozenset(without))
    copies = -(-max(1, events - len(once)) // len(often))
    stride = (often[-1].t - often[0].t) / AT_ONCE
    end = often[-1].t + copies * stride
    with path.open("w", encoding="utf-8") as file:
        file.write(header)
        written = 0
        for _, line in heapq.merge(_repeated(often, copies, stride), _shifted(once, end)):
            file.write(line)
            written += 1
        file.write(f'{{"kind":"end","t":{end + 120},"events":{written}}}\n')
    return written


def _text(source: Path) -> str:
    raw = source.read_bytes()
    return (gzip.decompress(raw) if source.suffix == ".gz" else raw).decode()


def _parts(lines: Sequence[str], without: frozenset[str]) -> tuple[list[_Line], list[_Line]]:
    once: list[_Line] = []
    often: list[_Line] = []
    for line in lines:
        kind = msgspec.json.decode(line)["kind"]
        if kind != "end" and kind not in without:
            (once if kind in ONCE else often).append(_cut(line))
    return once, sorted(often, key=lambda line: line.t)


_TIME = re.compile(r'^(\{"kind":"\w+","t":)([-+.\de]+)')
_NAMES = re.compile(r'"(?:run_id|pod|uid|name|id)":"[^"]+(?=")|"xid":[1-9]\d*')


def _cut(line: str) -> _Line:
    """Cut a line after each name (of a run, a pod, a row, a transaction) that is to be new."""
    found = _TIME.match(line)
    assert found is not None
    rest = line[found.end() :]
    places = [0, *(name.end() for name in _NAMES.finditer(rest)), len(rest)]
    pieces = [rest[a:b] for a, b in pairwise(places)]
    return _Line(float(found[2]), found[1], pieces)


def _repeated(often: list[_Line], copies: int, stride: float) -> Iterator[tuple[float, str]]:
    """Give the repetitions' lines in order of time; only those that go on are in memory."""
    waiting: list[tuple[float, int, int]] = []
    for number in range(copies):
        begins = often[0].t + number * stride
        while waiting and waiting[0][0] <= begins:
            yield _next(waiting, often, stride)
        heapq.heappush(waiting, (begins, number, 0))
    while waiting:
        yield _next(waiting, often, stride)


def _next(
    waiting: list[tuple[float, int, int]], often: list[_Line], stride: float
) -> tuple[float, str]:
    _, number, place = waiting[0]
    if place + 1 < len(often):
        heapq.heapreplace(waiting, (often[place + 1].t + number * stride, number, place + 1))
    else:
        heapq.heappop(waiting)
    return often[place].repeated(10_000 + number, number * stride)


def _shifted(once: list[_Line], end: float) -> Iterator[tuple[float, str]]:
    """Give what is said once: what is said after the flood, after the last repetition."""
    middle = once[-1].t / 2 if once else 0.0
    for line in once:
        t = line.t if line.t <= middle else round(end + line.t, 6)
        yield t, f"{line.head}{t}{''.join(line.rest)}"


def cost(checkout: Path, history: Path) -> tuple[Cost, str]:
    """Check a history with a checkout's command; return what it took and what it printed."""
    with tempfile.TemporaryFile("w+") as printed:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "oracle", "check", str(history)]
        process = subprocess.Popen(command, cwd=checkout, stdout=printed, stderr=printed)
        _, _, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        printed.seek(0)
        text = printed.read()
    if not text.startswith(("valid", "invalid", "unknown:")):
        raise SystemExit(f"{checkout} gave no verdict: {text.strip().splitlines()[-1:]}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024), text


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each checkout in turn, and print a table."""
    options = _parser().parse_args(arguments)
    checkouts = {"this checkout": HERE}
    if options.against is not None:
        checkouts["the other"] = options.against.resolve()
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.ndjson"
        events = multiply(options.history, history, options.events, options.without)
        print(f"{events:,} events, {history.stat().st_size / 1e6:,.0f} MB", flush=True)
        costs: dict[str, list[Cost]] = {name: [] for name in checkouts}
        for turn in range(options.turns):
            for name, checkout in checkouts.items():
                each, text = cost(checkout, history)
                costs[name].append(each)
                if not turn:
                    print(f"{name}: {text.splitlines()[0]}")
    best = {name: min(each) for name, each in costs.items()}
    print("\n| checked by | events a CPU second | CPU | wall | peak |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, each in best.items():
        cells = f"{each.cpu:.2f} s | {each.wall:.2f} s | {each.megabytes:.0f} MB"
        print(f"| {name} | {events / each.cpu:,.0f} | {cells} |")
    if len(best) > 1:
        mine, others = best.values()
        print(f"\n{others.cpu / mine.cpu:.2f} x the events a CPU second of the other")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--history", type=Path, default=SOURCE, help="the real one to repeat")
    parser.add_argument("--events", type=int, default=EVENTS, metavar="N")
    parser.add_argument("--turns", type=int, default=TURNS, metavar="N")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--without", nargs="+", default=[], metavar="KIND", help="events left out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
