"""A schedule: everything that a round was, in a file that can be read, replayed and shrunk."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from common.errors import UserError
from common.files import write_whole
from explore.points import PODS, Point, Watched
from oracle.states import FINISHED, IN_HAND, WAITING
from scenarios import document

SCHEMA = 1

Verb = Literal[
    "trigger",
    "update",
    "clear",
    "mark",
    "mark-run",
    "resize",
    "cancel",
    "kill",
    "pause",
    "resume",
    "silence",
    "tell",
]
WORK: frozenset[Verb] = frozenset({"trigger", "update"})
"""What a round has to do; all else are moves, and a promise may be broken without them."""

BY_PERSON: frozenset[Verb] = frozenset({"clear", "mark", "mark-run", "resize"})
"""Moves of a person's, by a request to the API server."""

OVERDUE = 240
"""Steps that a move waits for its point at most: schedulers that idle pass many."""


STATES = frozenset({*FINISHED, *WAITING, *IN_HAND, "none"})
"""In which a task can be when something is done to it."""

_MARKS = ("success", "failed", "skipped")
_PROCESS = re.compile(r"(scheduler|triggerer)-\d+|api-server")


class Deed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that is done to the lab before the step of a number: by a person, or a fault.

    `trigger` a run of `target` (a DAG) that is called `run` in the round; `update` an asset;
    `clear` and `mark` (`state`) a task of a run; `mark-run` all of it; `resize` a pool, to `state`
    slots, until the round is over; `cancel` the statement of who is to pass next; what is done to a
    process (`target`), `explore.moves` says.

    In a shrunken schedule a move is `before` a point: `PROCESS POINT NUMBER`, once the process
    stands there for that time, or `PROCESS POINT STATE`, once it came there when the task that it
    is done to was in that state. Steps are numbered otherwise there, so `at` tells when it is made
    nevertheless: where it has not come to that `OVERDUE` steps later.
    """

    do: Verb
    target: str = ""
    at: int = 0
    run: str = ""
    task: str = ""
    state: str = ""
    before: str = ""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One round: what the lab was, what was done to it, and who passed which point when.

    A step is `PROCESS POINT HOW`, where HOW is how it ended (controller.Rest): after `idle`,
    `ended` and `late` the round went on without being told to. With `yields` (`PROCESS POINT`)
    it is a shrunken one: nobody is preempted but there. A promise was `broken` in the step before
    number `until`, and `witness` tells how; `transition` is the first that broke one, if one did.
    `statements` are the tables and the LIKE pattern of those that have no name of their own
    (chaos.holds.points).
    """

    schema: int
    airflow: str
    shapes: str
    settings: dict[str, str]
    seed: int
    round: int
    strategy: str
    points: list[str]
    deeds: list[Deed]
    steps: list[str] = []
    yields: list[str] = []
    statements: dict[str, tuple[str, str]] = {}
    until: int = 0
    broken: list[str] = []
    transition: str = ""
    witness: str = ""

    @property
    def watched(self) -> list[Point]:
        """Return its points."""
        return [parsed(each) for each in self.points]

    @property
    def moves(self) -> list[Deed]:
        """Return what is done in it that is none of its work."""
        return [deed for deed in self.deeds if deed.do not in WORK]

    @property
    def order(self) -> list[tuple[str, str]]:
        """Return its steps as processes and points."""
        return [(process, point) for process, point, *_ in map(str.split, self.steps)]

    @property
    def preemptions(self) -> list[tuple[str, str]]:
        """Return at which points processes stood while others were let past, the latest first.

        Of the steps before a promise was broken; each once.
        """
        order = self.order[: self.until or None]
        found: dict[tuple[str, str], None] = {}
        last: dict[str, int] = {}
        for number, (process, point) in enumerate(order):
            if process in last and number - last[process] > 1:
                found.pop((process, point), None)
                found[process, point] = None
            last[process] = number
        return list(reversed(found))


def parsed(text: str) -> Point:
    """Read a point of a schedule; ValueError for what is none."""
    for commits, words in ((False, "scan of "), (True, "commit of ")):
        if text.startswith(words) and text.removeprefix(words).isidentifier():
            return Watched(text.removeprefix(words), commits)
    if found := next((each for each in PODS if str(each) == text), None):
        return found
    raise ValueError(
        f"{text!r} is not a point; write `scan of TABLE`, `commit of TABLE` or {PODS[0]}"
    )


def write(schedule: Schedule, path: Path) -> None:
    """Write a schedule to a file."""
    write_whole(path, msgspec.yaml.encode(schedule).decode())


def read(path: Path) -> Schedule:
    """Read a find's schedule. Raises UserError, in a line, for a file that is none."""
    schedule = read_any(path)
    if not schedule.broken:
        raise UserError(
            f"{path} does not say which promise was broken, so nobody can tell when it is again.",
            "Give a find's schedule: finds/ROUND/schedule.yaml.",
        )
    return schedule


def read_any(path: Path) -> Schedule:
    """Read a schedule that may have broken nothing; UserError as `read`."""
    try:
        data = document.read(path)
        _check_schema(path, msgspec.convert(data, _Versioned).schema)
        schedule = msgspec.convert(data, Schedule)
        _check(schedule)
    except (msgspec.MsgspecError, ValueError) as error:
        line = document.line_in(error)
        what = f"line {line}: " * bool(line) + " ".join(str(error).split())
        raise UserError(
            f"{path} is not a schedule: {what}.",
            "Give a file that an exploration wrote (schedule.yaml).",
        ) from error
    return schedule


class _Versioned(msgspec.Struct):
    schema: int


def _check_schema(path: Path, schema: int) -> None:
    if schema != SCHEMA:
        age = "a newer" if schema > SCHEMA else "another"
        raise UserError(
            f"{path} is of {age} version of this project: its schema is {schema}, this one reads "
            f"{SCHEMA}.",
            "Use the version that wrote it.",
        )


def _check(schedule: Schedule) -> None:
    before = [deed.before for deed in schedule.deeds if deed.before]
    for what, texts, words in (
        ("step", schedule.steps, ("PROCESS", "POINT", "HOW")),
        ("yield", schedule.yields, ("PROCESS", "POINT")),
        ("point of a move", before, ("PROCESS", "POINT", "NUMBER-OR-STATE")),
    ):
        for number, text in enumerate(texts, 1):
            if len(text.split()) != len(words):
                raise ValueError(f"{what} {number} is {text!r}, not `{' '.join(words)}`")
    for point in schedule.points:
        parsed(point)
    for text in (*schedule.steps, *schedule.yields, *before):
        _check_process(text.split()[0])
    runs = {deed.run: deed.target for deed in schedule.deeds if deed.do == "trigger"}
    if not runs:
        raise ValueError("nothing is triggered")
    for deed in schedule.moves:
        _check_move(deed, runs)


def _check_process(name: str) -> None:
    if not _PROCESS.fullmatch(name):
        raise ValueError(f"{name!r} is no process; write scheduler-1, api-server or triggerer-1")


def _check_move(deed: Deed, runs: Mapping[str, str]) -> None:
    if deed.do in ("kill", "pause", "resume", "silence", "tell"):
        _check_process(deed.target)
    if deed.do in ("clear", "mark", "mark-run") and runs.get(deed.run) != deed.target:
        raise ValueError(f"{deed.do} is of run {deed.run!r} of {deed.target!r}, which none is")
    if deed.do in ("clear", "mark") and not deed.task:
        raise ValueError(f"{deed.do} names no task")
    if deed.do in ("mark", "mark-run") and deed.state not in _MARKS:
        raise ValueError(f"{deed.do} is to {deed.state!r}; write {', '.join(_MARKS)}")
    if deed.do == "resize" and not (deed.state.isdecimal() and int(deed.state)):
        raise ValueError(f"resize is to {deed.state!r} slots; write a whole number from 1 up")
    when = deed.before.split()[-1:]
    if any(each not in STATES and not each.isdecimal() for each in when):
        raise ValueError(f"{when[0]!r} is neither a number nor a state of a task")
