"""Several labs that explore one release at a time, each in a process and a folder of its own.

One lab keeps one processor busy, for one of its processes goes on at a time: on two, two labs have
some 1.3 times the rounds an hour (benchmarks/FIGURES.md).

    FOLDER         what the first lab finds and remembers
    FOLDER/lab-2   what the second does, whose seed is the next; and so on

They end together with this process, also by SIGKILL (prctl(2), PR_SET_PDEATHSIG).
"""

import logging
import math
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from common.errors import UserError
from explore.coverage import Coverage
from explore.explorer import Totals
from explore.memory import recall
from lab.forkserver import die_with_parent
from lab.room import most

log = logging.getLogger(__name__)

FOUND = 1
"""How a process ends that found something."""

_LOOK = 0.5
_TIME = re.compile(r"^\d\d:\d\d:\d\d ")


def folders(folder: Path, labs: int) -> list[Path]:
    """Return where each of some labs keeps what it finds."""
    return [folder, *(folder / f"lab-{number}" for number in range(2, labs + 1))]


def check_room(labs: int) -> None:
    """Raise UserError where this machine has no room for so many labs."""
    if labs > (room := most()):
        raise UserError(
            f"There is room for {room} labs here, not for {labs}: two a processor, and what memory "
            "holds.",
            f"Give --labs {room}, or fewer.",
        )


def side_by_side(
    arguments: Sequence[str], folder: Path, labs: int, *, seed: int, rounds: int | None, first: bool
) -> list[int]:
    """Explore with so many labs; return how each of their processes ended.

    `arguments` are those of the command line, of which each process gets its own number of `rounds`
    and its own seed. With `first`, what one finds ends them all.
    """
    each = math.ceil(rounds / labs) if rounds else None
    commands = [
        [
            *(sys.executable, "-m", "explore", *arguments),
            *("--labs", "1", "--folder", str(place), "--seed", str(seed + n)),
            *(("--rounds", str(each)) if each else ()),
        ]
        for n, place in enumerate(folders(folder, labs))
    ]
    with _running(commands) as processes:
        while at_work := [process for process in processes if process.poll() is None]:
            if first and FOUND in [process.returncode for process in processes]:
                _interrupt(at_work)
                break
            with suppress(subprocess.TimeoutExpired):
                at_work[0].wait(_LOOK)
        return [process.wait() for process in processes]


@contextmanager
def _running(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Run commands, and say their lines. Who is interrupted interrupts them, and waits for them."""
    processes = [
        subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )
        for command in commands
    ]  # fmt: skip
    said = [
        threading.Thread(target=_say, args=(f"lab {number}", process.stderr))
        for number, process in enumerate(processes, 1)
    ]
    for thread in said:
        thread.start()
    try:
        yield processes
    except KeyboardInterrupt:
        _interrupt(processes)
        raise
    finally:
        for process in processes:
            process.wait()
        for thread in said:
            thread.join()


def _interrupt(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)


def _say(who: str, lines: IO[str] | None) -> None:
    for line in lines or ():
        log.info("%s: %s", who, _TIME.sub("", line.rstrip("\n")))


def together(folder: Path, labs: int) -> str:
    """Return the line that tells what all labs did so far; their rates add up."""
    totals, coverage, hourly = Totals(), Coverage(), 0.0
    for memory in map(recall, folders(folder, labs)):
        for name in ("rounds", "steps", "unknown", "finds", "seconds"):
            setattr(totals, name, getattr(totals, name) + getattr(memory.totals, name))
        hourly += memory.totals.rounds / memory.totals.seconds if memory.totals.seconds else 0.0
        covered = memory.coverage()
        coverage.pairs.update(covered.pairs)
        coverage.orders |= covered.orders
    totals.seconds = totals.rounds / hourly if hourly else 0.0
    return f"All {labs} labs: {totals.line(coverage)}"
