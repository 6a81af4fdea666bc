"""The shapes of the DAGs that a lab runs: pure data, so that a reader sees the load at a glance.

Standard library only: Airflow's DAG processor and every worker read this file beside
`factory.py`, and the suite reads it without Airflow to know what a flood must add up to.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal

Caller = Literal["executor", "triggerer"]
Kind = Literal["work", "branch", "skip", "flaky", "fail", "reschedule", "defer"]
Edge = tuple[str, str]

MAX_TASK_INSTANCES = 10_000
MAX_COPIES = 1_000
RETRIES = 2
MAX_ACTIVE_RUNS = 16
DEFAULT_SHAPES = "issue_57618"
DAYS = ("2025-01-01", "2025-01-03")
"""The first and the last day of a DAG that has one run a day: long ago, and for a backfill."""


class ShapeError(ValueError):
    """A shape or setting that cannot be made; its text is one line that says what to write."""


@dataclass(frozen=True)
class Node:
    """One task. `mapped` is how many instances it expands to (0: not mapped).

    Kinds: `work` does it and ends; `branch` follows one of `choices` and skips the others;
    `skip` skips itself; `flaky` fails some tries, chosen by the seed; `fail` fails each;
    `reschedule` is a sensor that gives its slot back between pokes; `defer` waits in the triggerer,
    for `patience` seconds at most (0: as long as it takes). `outlets` are the names of the assets
    that it updates.
    """

    task_id: str
    kind: Kind = "work"
    mapped: int = 0
    trigger_rule: str = "all_success"
    choices: tuple[str, ...] = ()
    outlets: tuple[str, ...] = ()
    patience: float = 0.0

    @property
    def group(self) -> str | None:
        """The task group that holds the task: the part of its id before the dot."""
        group, dot, _ = self.task_id.rpartition(".")
        return group if dot else None


@dataclass(frozen=True)
class Shape:
    """One DAG as data: its tasks, and who waits for whom.

    An edge may name a task group at either end: it then means every task of that group. A DAG that
    is `scheduled_on` assets runs when all of them have been updated, or, `by_partition`, each of
    their partitions; others only when triggered. One that `calls_back` has callbacks for every end,
    its tasks' tries too. A run that has not ended `deadline` seconds after it was queued (0: never
    late) has another one called, by its `caller`. A `daily` one has a run for each of its `DAYS`,
    by a backfill.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    retries: int = RETRIES
    max_active_runs: int = MAX_ACTIVE_RUNS
    scheduled_on: tuple[str, ...] = ()
    by_partition: bool = False
    calls_back: bool = False
    deadline: float = 0.0
    caller: Caller = "executor"
    daily: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """The task groups, in the order of their first task."""
        return tuple(dict.fromkeys(n.group for n in self.nodes if n.group is not None))

    @property
    def mapped(self) -> Mapping[str, int]:
        """The mapped tasks, each with how many instances it expands to."""
        return {node.task_id: node.mapped for node in self.nodes if node.mapped}

    @property
    def task_instances(self) -> int:
        """How many task instances one run has; a skipped one counts, for it has a row too."""
        return sum(max(1, node.mapped) for node in self.nodes)

    @property
    def scheduled(self) -> int:
        """How many of them are scheduled: not the paths that a branch does not take, nor what waits
        for a task that skips itself."""
        skips = {node.task_id for node in self.nodes if node.kind == "skip"}
        not_taken = sum(len(node.choices) - 1 for node in self.nodes if node.choices)
        return self.task_instances - not_taken - sum(up in skips for up, _ in self.edges)


def _between(middle: Iterable[Node], ends: Iterable[str]) -> tuple[tuple[Node, ...], list[Edge]]:
    """Put `start` before and `end` after the given tasks; `ends` names what the edges join."""
    edges = [edge for name in ends for edge in (("start", name), (name, "end"))]
    return (Node("start"), *middle, Node("end")), edges


def _grouped(name: str, prefix: str, groups: int, width: int, **limits: Any) -> Shape:
    names = [f"{prefix}_{group}" for group in range(1, groups + 1)]
    tasks = (Node(f"{name}.task_{task}") for name in names for task in range(1, width + 1))
    nodes, edges = _between(tasks, names)
    return Shape(name, nodes, tuple(edges), **limits)


def _side_by_side(name: str, kind: Kind, n: int) -> Shape:
    tasks = [Node(f"task_{task}", kind) for task in range(1, n + 1)]
    nodes, edges = _between(tasks, [task.task_id for task in tasks])
    return Shape(name, nodes, tuple(edges))


def issue_57618() -> Shape:
    """start, then 9 groups of 5 tasks, then end: the DAG of apache/airflow#57618."""
    return _grouped("issue_57618", "spam", 9, 5, retries=4, max_active_runs=1)


def many_groups(groups: int = 20, width: int = 5) -> Shape:
    """start, then GROUPS task groups of WIDTH tasks, then end."""
    return _grouped("many_groups", "group", groups, width)


def wide(n: int = 50) -> Shape:
    """N tasks that wait for nothing: all can be scheduled in one decision."""
    return Shape("wide", tuple(Node(f"task_{task}") for task in range(1, n + 1)))


def deep(n: int = 10) -> Shape:
    """A chain of N tasks: each needs a decision of its own."""
    names = [f"task_{task}" for task in range(1, n + 1)]
    return Shape("deep", tuple(map(Node, names)), tuple(pairwise(names)))


def diamond(n: int = 3) -> Shape:
    """N diamonds in a row: split in two, joined, split again."""
    nodes, edges = [Node("join_0")], list[Edge]()
    for row in range(1, n + 1):
        sides, join = (f"left_{row}", f"right_{row}"), f"join_{row}"
        nodes += [Node(name) for name in (*sides, join)]
        edges += [edge for side in sides for edge in ((f"join_{row - 1}", side), (side, join))]
    return Shape("diamond", tuple(nodes), tuple(edges))


def mapped(n: int = 20) -> Shape:
    """start, then one task mapped over N values, then end."""
    nodes, edges = _between([Node("task", mapped=n)], ["task"])
    return Shape("mapped", nodes, tuple(edges))


def branching(n: int = 3) -> Shape:
    """A branch follows one of N paths, another task skips itself, and a join waits for all."""
    paths = tuple(f"path_{path}" for path in range(1, n + 1))
    nodes = (
        Node("start"),
        Node("choose", "branch", choices=paths),
        *map(Node, paths),
        Node("skips", "skip"),
        Node("after_skips"),
        Node("join", trigger_rule="none_failed_min_one_success"),
    )
    edges = [("start", "choose"), ("start", "skips"), ("skips", "after_skips")]
    edges += [edge for path in paths for edge in (("choose", path), (path, "join"))]
    return Shape("branching", nodes, (*edges, ("after_skips", "join")))


def sensors(n: int = 5) -> Shape:
    """start, then N sensors that are rescheduled between pokes, then end.

    Two pokes less than a scheduler's loop apart are a test of their own: the exit of the first,
    noticed late, fails the second (seen with one scheduler on 3.2.0 and 3.3.2, at 1 s).
    """
    return _side_by_side("sensors", "reschedule", n)


def deferrable(n: int = 5) -> Shape:
    """start, then N tasks that defer, then end; needs a lab with a triggerer."""
    return _side_by_side("deferrable", "defer", n)


def impatient(n: int = 4) -> Shape:
    """One task that defers, and fails N seconds later if it has not come back by then."""
    return Shape("impatient", (Node("task", "defer", patience=float(n)),), retries=0)


def flaky(n: int = 10) -> Shape:
    """start, then N tasks that fail some of their tries by seed, then end."""
    return _side_by_side("flaky", "flaky", n)


def failing(n: int = 4) -> Shape:
    """N tasks that fail whenever they start, and may be tried once more."""
    return Shape("failing", tuple(Node(f"task_{k}", "fail") for k in range(1, n + 1)), retries=1)


def serial() -> Shape:
    """One task, and one run at a time: no second run may be at work beside it."""
    return Shape("serial", (Node("task"),), max_active_runs=1)


def producer() -> Shape:
    """One task that updates the asset `a`."""
    return Shape("producer", (Node("task", outlets=("a",)),))


def publisher() -> Shape:
    """One task that updates the asset `f`, which sets nothing off."""
    return Shape("publisher", (Node("task", outlets=("f",)),))


def consumer() -> Shape:
    """One task, run whenever the asset `a` was updated; the asset is known with a producer."""
    return Shape("consumer", (Node("task"),), scheduled_on=("a",))


def gatherer() -> Shape:
    """One task, run whenever both assets, `b` and `c`, were updated."""
    return Shape("gatherer", (Node("task"),), scheduled_on=("b", "c"))


def partitions() -> Shape:
    """One task, run for each partition of which both assets, `d` and `e`, were updated."""
    return Shape("partitions", (Node("task"),), scheduled_on=("d", "e"), by_partition=True)


def late(n: int = 1) -> Shape:
    """One task; a function is called when a run has not ended in N seconds."""
    return Shape("late", (Node("task"),), deadline=float(n))


def awaited(n: int = 1) -> Shape:
    """The same; the function is called by a triggerer, and takes a few seconds."""
    return Shape("awaited", (Node("task"),), deadline=float(n), caller="triggerer")


def daily() -> Shape:
    """One task, once a day for a few days that are over: what a backfill is for."""
    return Shape("daily", (Node("task"),), daily=True)


def single() -> Shape:
    """One task: the smallest run there is."""
    return Shape("single", (Node("task"),))


def calling() -> Shape:
    """One task that calls back when it fails, in a DAG that calls back when its run ends."""
    return Shape("calling", (Node("task"),), calls_back=True)


SHAPES: Mapping[str, Callable[..., Shape]] = {
    make.__name__: make
    for make in (
        issue_57618, many_groups, wide, deep, diamond, mapped, branching, sensors, deferrable,
        impatient, flaky, failing, serial,
        producer, publisher, consumer, gatherer, partitions, single, calling, late, awaited, daily,
    )
}  # fmt: skip


def shape(text: str) -> Shape:
    """Return the shape that `name` or `name:NUMBERS` (`wide:200`, `many_groups:20x5`) means.

    Raises ShapeError for an unknown name, for numbers that the shape does not take, and for
    one too large to be meant.
    """
    name, colon, rest = text.partition(":")
    if name not in SHAPES:
        raise ShapeError(f"No shape is called {name!r}; the shapes are {', '.join(SHAPES)}.")
    wanted = [parameter.upper() for parameter in inspect.signature(SHAPES[name]).parameters]
    numbers = rest.split("x") if colon else []
    if colon and (len(numbers) != len(wanted) or not all(map(_is_count, numbers))):
        usage = f"{name}:{'x'.join(wanted)}, each a number from 1" if wanted else name
        raise ShapeError(f"The shape {text!r} cannot be made; write {usage}.")
    made = SHAPES[name](*map(int, numbers))
    if made.task_instances > MAX_TASK_INSTANCES:
        raise ShapeError(
            f"The shape {text!r} has more than {MAX_TASK_INSTANCES} tasks; write smaller numbers."
        )
    return made


def dags(text: str) -> dict[str, Shape]:
    """Return the shapes of a comma list by DAG id, as HA_CHAOS_SHAPES and floods write it.

    `wide` becomes the DAG `wide`, `wide:200` becomes `wide-200`, and `issue_57618*2` becomes
    `issue_57618_0` and `issue_57618_1`, so that a flood can run a DAG of one run at a time
    many times over. Raises ShapeError for what `shape` does, for bad copies and for repeats.
    """
    found: dict[str, Shape] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        what, star, copies = item.partition("*")
        if star and not (_is_count(copies) and int(copies) <= MAX_COPIES):
            raise ShapeError(f"{item!r}: write a number of copies from 1 to {MAX_COPIES}.")
        made, base = shape(what), what.replace(":", "-")
        names = [f"{base}_{copy}" for copy in range(int(copies))] if star else [base]
        if repeated := found.keys() & set(names):
            raise ShapeError(f"{min(repeated)!r} is asked for twice; write it once.")
        found.update(dict.fromkeys(names, made))
    if not found:
        raise ShapeError(f"No shape is asked for; the shapes are {', '.join(SHAPES)}.")
    return found


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0


@dataclass(frozen=True)
class Settings:
    """Which DAGs to make and how their tasks behave; times are in seconds.

    `retries` None leaves each shape its own. `seed` decides which tries of a flaky task fail
    and which path a branch takes.
    """

    dags: Mapping[str, Shape]
    sleep: float = 0.0
    retries: int | None = None
    retry_delay: float = 1.0
    poke_interval: float = 10.0
    max_active_tasks: int = 64
    seed: int = 0

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the HA_CHAOS_ variables; the DAG processor and every worker need the same ones.

        An empty or missing variable means its default. Raises ShapeError for a bad value.
        """
        try:
            wanted = dags(environ.get("HA_CHAOS_SHAPES") or DEFAULT_SHAPES)
        except ShapeError as error:
            raise ShapeError(f"HA_CHAOS_SHAPES: {error}") from None
        names = {each.name: f"HA_CHAOS_{each.name.upper()}" for each in fields(cls)}
        given = {each: name for each, name in names.items() if each != "dags" and environ.get(name)}
        return cls(wanted, **{each: _number(environ, each, name) for each, name in given.items()})


_WHOLE = {"retries": 0, "max_active_tasks": 1, "seed": 0}
"""The settings that are whole numbers, with the least of each."""


def _number(environ: Mapping[str, str], setting: str, name: str) -> Any:
    text, whole, least = environ[name], setting in _WHOLE, _WHOLE.get(setting, 0)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        kind = "a whole number" if whole else "seconds"
        raise ShapeError(f"{name}={text!r} cannot be used; write {kind} from {least} up.")
    return value
