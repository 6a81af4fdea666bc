"""How long a timeline takes to build and to open, and how large it is.

    .venv/bin/python -m benchmarks.timeline
    .venv/bin/python -m benchmarks.timeline --sizes 45 10000 --keep somewhere

The histories are real ones, repeated under new names until there are enough task instances: one
run with the race of issue 57618, and floods without it around. Build time and memory are those of
a process of its own; the browser is a headless Chromium, if there is one.
"""

import argparse
import gzip
import heapq
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import measured
from oracle.events import (
    AssumptionEvent,
    End,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    PodEvent,
    Row,
    TaskInstanceEvent,
)
from oracle.history import Writer, read
from reports.metrics import HISTORY
from reports.timeline import PAGE
from tests.reports.timeline.browser import chromium, opened, started

SIZES = (45, 1_000, 10_000)
HISTORIES = Path(__file__).parent.parent / "tests/reports/timeline/histories"
STRIDE = 0.4
"""Seconds between the beginnings of two repetitions: floods overlap."""


def multiply(path: Path, task_instances: int) -> None:
    """Write a history with about so many task instances: a race, and floods if there is room."""
    header, race = _events("race")
    _, flood = _events("flood")
    copies = max(0, round((task_instances - _size(race)) / _size(flood)))
    repeated = [_copy(race, 0, with_the_rest=True)]
    repeated += [_copy(flood, number, with_the_rest=False) for number in range(1, copies + 1)]
    end = 0.0
    with Writer(path, header) as writer:
        for event in heapq.merge(*repeated, key=lambda event: event.t):
            writer.write(event)
            end = event.t
        writer.close(end)


def _events(name: str) -> tuple[Header, list[Event]]:
    with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
        file.write(gzip.decompress((HISTORIES / f"{name}.ndjson.gz").read_bytes()))
        file.flush()
        header, events = read(file.name)
        return header, sorted((e for e in events if not isinstance(e, End)), key=lambda e: e.t)


def _size(events: Sequence[Event]) -> int:
    return len({event.ti for event in events if isinstance(event, TaskInstanceEvent)})


def _copy(events: Sequence[Event], number: int, *, with_the_rest: bool) -> Iterator[Event]:
    """Repeat events under new names, later; faults, holds and assumptions only on demand."""
    for event in events:
        if with_the_rest or not isinstance(event, FaultEvent | HoldEvent | AssumptionEvent):
            yield _renamed(event, f"-{number:04}", number * STRIDE)


def _renamed(event: Event, suffix: str, later: float) -> Event:
    changed: dict[str, Any] = {"t": event.t + later}
    for name in ("run_id", "pod", "uid"):
        if value := getattr(event, name, None):
            changed[name] = value + suffix
    if isinstance(event, PodEvent):
        changed["name"] = event.name + suffix
    if ti := getattr(event, "ti", None):
        changed["ti"] = msgspec.structs.replace(ti, run_id=ti.run_id + suffix)
    for name in ("old", "new"):
        if isinstance(row := getattr(event, name, None), Row):
            changed[name] = msgspec.structs.replace(row, id=row.id + suffix)
    return msgspec.structs.replace(event, **changed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.timeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the pages shall stay")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        print("| task instances | history | build | memory | page | opens in | filter | chosen |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for size in options.sizes:
            folder = (options.keep or Path(scratch)) / str(size)
            folder.mkdir(parents=True, exist_ok=True)
            print(_row(folder, size), flush=True)
    return 0


def _row(folder: Path, size: int) -> str:
    history = folder / HISTORY
    history.unlink(missing_ok=True)
    multiply(history, size)
    page = folder / PAGE
    seconds, memory = measured(
        "from reports.timeline.page import publish; from reports.timeline.survey import surveyed",
        "publish(surveyed(folders[0]), folders[1])",
        *(folder, page),
    )
    cells = [
        f"{size:,}",
        f"{history.stat().st_size / 1e6:.1f} MB",
        f"{seconds:.1f} s",
        f"{memory} MB",
        f"{page.stat().st_size / 1e6:.2f} MB",
        *_browsed(page),
    ]
    return "| " + " | ".join(cells) + " |"


def _browsed(path: Path) -> list[str]:
    if chromium() is None:
        return ["no Chromium"] * 3
    with started() as browser:
        begun = time.perf_counter()
        with opened(browser, path) as page:
            loaded = time.perf_counter() - begun
            took = [page.page.evaluate(_TIMED, action) for action in ("filter", "choose")]
    return [f"{loaded:.2f} s", *(f"{milliseconds:.0f} ms" for milliseconds in took)]


_TIMED = """async (action) => {
  const begun = performance.now();
  const { list } = timeline;
  list.all.checked = true;
  if (action === "filter") {
    list.filter.value = "task_2";
    list.filter.dispatchEvent(new Event("input"));
  } else {
    await timeline.choose([timeline.facts.names.length - 1]);
  }
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}"""


if __name__ == "__main__":
    sys.exit(main())
