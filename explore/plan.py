"""What a round does, drawn from a seed: which runs begin, what else is done, at which points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from explore.points import ASSETS, LEVELS, Point
from explore.schedule import Deed

SHAPES = "serial,diamond:1,wide:3,mapped:2,deep:2,producer,consumer"
"""The DAGs of an explored lab, small ones: what is looked for are orders, not loads."""

SETTINGS = {
    # Nobody is to be taken for dead because the schedule let others go first.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "600",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "3600",
    # Whom the schedule chose to be late is found out within the round; Airflow's default is 300.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "1",
    # An idle scheduler sleeps for a second otherwise, which is most of a round.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "HA_CHAOS_SLEEP": "0",
    "HA_CHAOS_SHAPES": SHAPES,
}
"""What an explored lab has in its environment."""

WORLDS: Mapping[str, Mapping[str, str]] = {
    "defaults": {},
    "run-a-loop": {"AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "1"},
    "task-a-loop": {
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "1",
        "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "1",
    },
}
"""Settings that make schedulers share work differently, by name. Each needs a lab that boots with
it, so a session explores one after the other."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an explored lab with some settings of its own."""
    return {**SETTINGS, **settings}


ALIVE = 600.0
"""Seconds after which a process of an explored lab is taken for dead."""


@dataclass(frozen=True)
class Plan:
    """What a round does; `points` are those that are on in it."""

    level: str
    points: Sequence[Point]
    deeds: Sequence[Deed]


_MENU: Sequence[tuple[str, ...]] = (
    ("serial", "serial"),
    ("diamond-1",),
    ("wide-3",),
    ("mapped-2",),
    ("deep-2",),
    ("serial", "serial", "serial"),
)
_TASKS = {"serial": "task", "diamond-1": "join_0", "wide-3": "task_1", "deep-2": "task_1"}
_LATEST = 60
_MOVES = 0.3
_LASTING = (10, 60)
"""For how many steps a scheduler is frozen, or its watch silent."""


def plan(rng: Random, levels: Sequence[str] = tuple(LEVELS), *, moves: bool = True) -> Plan:
    """Draw a round: two or three dishes of the menu, perhaps an asset, perhaps a person's move."""
    dags = [dag for dish in rng.sample(_MENU, rng.choice((2, 3))) for dag in dish]
    rng.shuffle(dags)
    deeds = [Deed("trigger", dag, run=f"{n}") for n, dag in enumerate(dags)]
    level = rng.choice(list(levels))
    points = LEVELS[level]
    if rng.random() < 0.25:
        deeds += [Deed("update", "a"), Deed("update", "a", at=rng.randrange(_LATEST))]
        points = (*points, *ASSETS)
    if moves and rng.random() < _MOVES:
        deeds += _moves(rng, dags)
    return Plan(level, points, deeds)


def _moves(rng: Random, dags: Sequence[str]) -> list[Deed]:
    at = rng.randrange(10, _LATEST)
    do = rng.choice(("cancel", "clear", "mark", "kill", "pause", "silence"))
    who, ending = f"scheduler-{rng.choice((1, 2))}", at + rng.randrange(*_LASTING)
    if do == "kill":
        return [Deed("kill", who, at)]
    if do == "pause":
        return [Deed("pause", who, at), Deed("resume", who, ending)]
    if do == "silence":
        return [Deed("silence", who, at), Deed("tell", who, ending)]
    known = [n for n, dag in enumerate(dags) if dag in _TASKS]
    if do == "cancel" or not known:
        return [Deed("cancel", at=at)]
    run = rng.choice(known)
    task = _TASKS[dags[run]]
    if do == "clear":
        return [Deed("clear", dags[run], at, f"{run}", task)]
    return [Deed("mark", dags[run], at, f"{run}", task, rng.choice(("success", "failed")))]
