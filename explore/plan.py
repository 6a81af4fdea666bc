"""What a round does, drawn from a seed: which runs begin, what else is done, at which points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from dags.shapes import dags
from explore.points import ASSETS, LEVELS, Point
from explore.schedule import Deed
from lab.base import Airflow
from lab.spec import LabSpec

_SHAPES = "HA_CHAOS_SHAPES"

SHAPES = "serial,diamond:1,wide:3,mapped:2,deep:2,producer,consumer"
"""The DAGs of an explored lab, small ones: what is looked for are orders, not loads."""

DEFERRED = "serial,deep:2,impatient:3,impatient:60"
"""Those of the world `triggers`: triggers fire after a second, some tasks wait no longer than 3."""

SETTINGS = {
    # Nobody is to be taken for dead because the schedule let others go first.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "600",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "3600",
    # Whom the schedule chose to be late is found out within the round; Airflow's default is 300.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "1",
    # An idle scheduler sleeps for a second otherwise, which is most of a round.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "HA_CHAOS_SLEEP": "0",
    _SHAPES: SHAPES,
}
"""What an explored lab has in its environment."""

WORLDS: Mapping[str, Mapping[str, str]] = {
    "defaults": {},
    "run-a-loop": {"AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "1"},
    "task-a-loop": {
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "1",
        "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "1",
    },
    "triggers": {
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "1",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        _SHAPES: DEFERRED,
    },
}
"""Settings that make schedulers share work differently, by name. Each needs a lab that boots with
it, so a session explores one after the other."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an explored lab with some settings of its own."""
    return {**SETTINGS, **settings}


def shapes(settings: Mapping[str, str]) -> str:
    """Return the DAGs of an explored lab with some settings of its own."""
    return environment(settings)[_SHAPES]


def defers(settings: Mapping[str, str]) -> bool:
    """Return whether tasks defer: they need a triggerer, and workers that are real."""
    there = dags(shapes(settings)).values()
    return any(node.kind == "defer" for shape in there for node in shape.nodes)


def lab_spec(airflow: Airflow, settings: Mapping[str, str]) -> LabSpec:
    """Return the lab that is explored with some settings of its own."""
    env = environment(settings)
    if defers(settings):
        return LabSpec(airflow, triggerers=1, kubelet="fork", env=env)
    return LabSpec(airflow, kubelet="simulated", env=env)


ALIVE = 600.0
"""Seconds after which a process of an explored lab is taken for dead."""


@dataclass(frozen=True)
class Plan:
    """What a round does; `points` are those that are on in it."""

    level: str
    points: Sequence[Point]
    deeds: Sequence[Deed]


_Menu = Sequence[tuple[str, ...]]
_MENU: _Menu = (
    ("serial", "serial"),
    ("diamond-1",),
    ("wide-3",),
    ("mapped-2",),
    ("deep-2",),
    ("serial", "serial", "serial"),
)
_DEFERRED: _Menu = (
    ("impatient-3",),
    ("impatient-60",),
    ("impatient-60", "impatient-60"),
    ("serial", "serial"),
)
_TASKS = {"diamond-1": "join_0", "wide-3": "task_1", "deep-2": "task_1"} | dict.fromkeys(
    ("serial", "impatient-3", "impatient-60"), "task"
)
_DEFAULT_POOL = "default_pool"
_LATEST, _LATEST_DEFERRED = 60, 120
"""Steps in which a move is made: about half of those that a round has."""

_MOVES = 0.3
_LASTING = (10, 60)
"""For how many steps a scheduler is frozen, or its watch silent."""


def plan(
    rng: Random,
    levels: Sequence[str] = tuple(LEVELS),
    *,
    moves: bool = True,
    world: str = "defaults",
) -> Plan:
    """Draw a round: two or three dishes of the menu, perhaps an asset, perhaps a move."""
    deferred = defers(WORLDS[world])
    menu = _DEFERRED if deferred else _MENU
    runs = [dag for dish in rng.sample(menu, rng.choice((2, 3))) for dag in dish]
    rng.shuffle(runs)
    deeds = [Deed("trigger", dag, run=f"{n}") for n, dag in enumerate(runs)]
    level = rng.choice(list(levels))
    points = LEVELS[level]
    if not deferred and rng.random() < 0.25:
        deeds += [Deed("update", "a"), Deed("update", "a", at=rng.randrange(_LATEST))]
        points = (*points, *ASSETS)
    if moves and rng.random() < _MOVES:
        deeds += _moves(rng, runs, _LATEST_DEFERRED if deferred else _LATEST)
    return Plan(level, points, deeds)


def _moves(rng: Random, runs: Sequence[str], latest: int) -> list[Deed]:
    at = rng.randrange(10, latest)
    do = rng.choice(("person", "person", "person", "resize", "kill", "pause", "silence"))
    who = f"scheduler-{rng.choice((1, 2))}"
    if do == "kill":
        return [Deed("kill", who, at)]
    if do == "resize":
        return [Deed("resize", _DEFAULT_POOL, at // 4, state=rng.choice(("1", "2", "3")))]
    ending = at + rng.randrange(*_LASTING)
    if do == "pause":
        return [Deed("pause", who, at), Deed("resume", who, ending)]
    if do == "silence":
        return [Deed("silence", who, at), Deed("tell", who, ending)]
    return [_person_s(rng, runs, at)]


def _person_s(rng: Random, runs: Sequence[str], at: int) -> Deed:
    """Draw what a person does to a task or a run, or a statement that is cancelled."""
    known = [n for n, dag in enumerate(runs) if dag in _TASKS]
    do = rng.choice(("cancel", "clear", "mark", "mark-run")) if known else "cancel"
    if do == "cancel":
        return Deed("cancel", at=at)
    run = rng.choice(known)
    task = _TASKS[runs[run]]
    if do == "clear":
        return Deed("clear", runs[run], at, f"{run}", task)
    state = rng.choice(("success", "failed"))
    if do == "mark":
        return Deed("mark", runs[run], at, f"{run}", task, state)
    return Deed("mark-run", runs[run], at, f"{run}", state=state)
